# Thin verbs. Everything they do stands in book/tasks.py, which needs nothing but Python,
# so that the same lines work where there is no make: python book/tasks.py book

PYTHON ?= python3
SERVE ?= 1
PORT ?= 8000
ARGS ?=
SOLUTIONS ?= 1
OUT ?= grades.csv

TASKS = $(PYTHON) book/tasks.py
WITHOUT = $(if $(filter 0 no false,$(SOLUTIONS)),--no-solutions)

.PHONY: help setup pythons book zip pdf test lab bench speedrun records lint notebooks grade release nbgrader lock clean

help:
	@$(TASKS) --help

setup:
	@$(TASKS) setup

pythons:
	@$(TASKS) pythons

book:
	@$(TASKS) book $(if $(filter 0 no false,$(SERVE)),--no-serve,--port '$(PORT)') $(WITHOUT)

zip:
	@$(TASKS) zip $(WITHOUT)

pdf:
	@$(TASKS) pdf

test:
	@$(TASKS) test $(ARGS)

lab:
	@$(TASKS) lab $(ARGS)

bench:
	@$(TASKS) bench $(ARGS)

speedrun:
	@$(TASKS) speedrun $(ARGS)

records:
	@$(TASKS) records $(ARGS)

lint:
	@$(TASKS) lint

notebooks:
	@$(TASKS) notebooks $(ARGS)

grade:
	@$(TASKS) grade '$(SUBMISSIONS)' --out '$(OUT)' $(ARGS)

release:
	@$(TASKS) release --chapters '$(CHAPTERS)' --out '$(if $(filter grades.csv,$(OUT)),handout,$(OUT))' $(ARGS)

nbgrader:
	@$(TASKS) nbgrader '$(if $(filter grades.csv,$(OUT)),for-nbgrader,$(OUT))' $(ARGS)

lock:
	@$(TASKS) lock

clean:
	@$(TASKS) clean
