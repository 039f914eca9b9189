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


def run(pytester, monkeypatch, body: str, ci: str):
    """The outcome counts of one test file under our conftest."""
    monkeypatch.setenv("CI", ci)
    rules = CONFTEST.split("# What tests may ask for")[0].replace('["pytester"]', "[]")
    pytester.makeconftest(rules.replace("parent.parent", "parent"))
    pytester.makepyfile("import pytest\n" + body)
    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:nbval")
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
