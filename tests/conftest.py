"""What the tests share: the built book, optional data, and the rule that CI skips nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from course import notice
from execution import kernel_environment
from pdf import find_browser

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("GPTLIB_SHARED", ROOT.parent / "shared" / "data"))

# Kernels that the tests start read no start-up files of the user and print no notes of their own.
try:
    KERNEL = kernel_environment()
except OSError as error:
    raise pytest.UsageError(f"the tests write into _build, and cannot: {error}") from None
SET = ("IPYTHONDIR", "MATPLOTLIBRC", "PYDEVD_DISABLE_FILE_VALIDATION", "GPTLIB_FIGURES")
os.environ.update({name: KERNEL[name] for name in SET})
# And they are this environment's: a kernel "python3" of the user's may be another Python.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
os.environ.pop("JUPYTER_PATH", None)

pytest_plugins = ["pytester"]


# No skips in CI ----------------------------------------------------------------------------------


def in_ci() -> bool:
    """Whether this run may skip nothing."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _skip_is_failure(report) -> None:
    """Turn a skipped report, of a test or of a whole file, into a failed one."""
    if report.skipped and not hasattr(report, "wasxfail") and in_ci():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI must skip nothing: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    _skip_is_failure((yield).get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    _skip_is_failure((yield).get_result())


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left with one of them at the end."""
    first = ("test_pages", "test_reading", "test_any_folder", "test_pythons", "test_colab")
    items.sort(key=lambda item: item.path.stem not in first)


def pytest_terminal_summary(terminalreporter):
    """Say which Pythons the course was tested on, and which chapters are their reader's own."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    about = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    lines = sorted({value for name, value in about if name == "python"})
    if lines:
        terminalreporter.section("Pythons")
        terminalreporter.write("".join(f"{line}\n" for line in lines))
    for line in notice():
        terminalreporter.write_line(line, yellow=True)


# What tests may ask for --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with Tiny Shakespeare, the TinyStories sample and tiktoken's cache."""
    if not (SHARED / "tinyshakespeare.txt").exists():
        pytest.skip(
            "no shared data: put tinyshakespeare.txt, tinystories_sample.txt and tiktoken_cache/ "
            "into a folder and name it in GPTLIB_SHARED"
        )
    return SHARED


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book; builds it if anything changed since the last time.

    Where its reader has worked in the chapters, it is the book of the course's own.
    """
    from bookbuild import BUILD, BuildError, build
    from course import course

    try:
        return build() if course() == ROOT else build(course(), BUILD / "course")
    except BuildError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium or Chrome."""
    found = find_browser()
    if not found:
        pytest.skip("no Chromium: install one (apt-get install chromium) or name it in CHROMIUM")
    return found
