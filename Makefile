# Thin verbs. Everything they do stands in book/tasks.py, which needs nothing but Python,
# so that the same lines work where there is no make: python book/tasks.py book

PYTHON ?= python3
SERVE ?= 1
PORT ?= 8000
ARGS ?=

TASKS = $(PYTHON) book/tasks.py

.PHONY: help setup pythons book zip test lab bench lint notebooks lock clean

help:
	@$(TASKS) --help

setup:
	@$(TASKS) setup

pythons:
	@$(TASKS) pythons

book:
	@$(TASKS) book $(if $(filter 0 no false,$(SERVE)),--no-serve,--port '$(PORT)')

zip:
	@$(TASKS) zip

test:
	@$(TASKS) test $(ARGS)

lab:
	@$(TASKS) lab $(ARGS)

bench:
	@$(TASKS) bench $(ARGS)

lint:
	@$(TASKS) lint

notebooks:
	@$(TASKS) notebooks $(ARGS)

lock:
	@$(TASKS) lock

clean:
	@$(TASKS) clean
