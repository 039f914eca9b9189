"""The rule that CI skips nothing, tested on small test runs of their own."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")

SKIPS = {
    "mark": "@pytest.mark.skip(reason='no moon')\ndef test(): pass",
    "call": "def test(): pytest.skip('no moon')",
    "fixture": "@pytest.fixture\ndef f(): pytest.skip('no moon')\ndef test(f): pass",
    "importorskip": "pytest.importorskip('no_such_moon')\ndef test(): pass",
    "whole file": "pytest.skip('no moon', allow_module_level=True)",
}


def run(pytester, monkeypatch, body: str, ci: str, shown=None, more: str = ""):
    """The outcome counts of one test file under our conftest; what it prints goes to `shown`."""
    monkeypatch.setenv("CI", ci)
    rules = CONFTEST.split("# What tests may ask for")[0].replace('["pytester"]', "[]") + more
    pytester.makeconftest(rules.replace("parent.parent", "parent"))
    pytester.makepyfile("import pytest\n" + body)
    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:nbval")
    if shown is not None:
        shown += result.outlines
    return result.ret, result.parseoutcomes()


@pytest.mark.parametrize("body", SKIPS.values(), ids=SKIPS)
def test_in_ci_a_skip_is_a_failure(pytester, monkeypatch, body):
    status, outcomes = run(pytester, monkeypatch, body, ci="true")
    assert status != 0
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 1
    assert "skipped" not in outcomes


@pytest.mark.parametrize("body", SKIPS.values(), ids=SKIPS)
def test_elsewhere_a_skip_is_a_skip(pytester, monkeypatch, body):
    _, outcomes = run(pytester, monkeypatch, body, ci="")
    assert outcomes == {"skipped": 1}


def test_in_ci_what_passes_passes_and_an_expected_failure_is_none(pytester, monkeypatch):
    body = "def test(): pass\n@pytest.mark.xfail\ndef test_x(): assert 0"
    status, outcomes = run(pytester, monkeypatch, body, ci="true")
    assert (status, outcomes) == (0, {"passed": 1, "xfailed": 1})


PYTHONS = """
@pytest.mark.parametrize("version", ["3.12.1", "3.11.2", "3.11.2"])
def test(version, record_property):
    record_property("python", f"{version}: 7 passed")
    record_property("other", "not for the summary")
    assert version != "3.12.1"

def test_skipped(record_property):
    record_property("python", "3.13.0: found, but has no environment")
    pytest.skip("no environment")
"""


def test_the_summary_names_each_python_once_whatever_came_of_it(pytester, monkeypatch):
    shown = []
    run(pytester, monkeypatch, PYTHONS, ci="", shown=shown)
    start = next(i for i, line in enumerate(shown) if line.strip("=") == " Pythons ")
    assert shown[start + 1 : start + 4] == [
        "3.11.2: 7 passed",
        "3.12.1: 7 passed",
        "3.13.0: found, but has no environment",
    ]
    assert not any("not for the summary" in line for line in shown[start:])


STRETCHED = """
def pytest_runtest_logreport(report):
    seconds = {"setup": 60, "call": 2.5}.get(report.when, 0)
    report.duration = seconds * report.nodeid.startswith("test_a.py")
"""


def test_the_summary_says_which_files_took_longest(pytester, monkeypatch):
    """Setting up counts; short files are left out; pytest's own summary stays the last line."""
    pytester.makepyfile(test_a="def test_a(): pass\ndef test_b(): pass")
    shown = []
    stretched = STRETCHED.replace("def pytest", "@pytest.hookimpl(tryfirst=True)\ndef pytest", 1)
    _, outcomes = run(pytester, monkeypatch, "def test(): pass", "", shown, stretched)
    start = next(i for i, line in enumerate(shown) if " the slowest files: " in line)
    assert shown[start + 1] == "   2:05.0     2  test_a.py"
    assert outcomes == {"passed": 3} and "3 passed" in shown[-1]
    assert not any("test_the_summary" in line for line in shown[start:])
