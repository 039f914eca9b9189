"""What the tests share: the built book, optional data, and the rule that CI skips nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
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


# The order of the files, and where the time goes -------------------------------------------------

# The longest come first, so that no worker is left with one of them at the end. The chapters are
# executed first of all (test_any_folder), meanwhile what asks for no book; then the book need not
# execute them. After the first that asks for the book stand some that do not: the other worker has
# work while it is built. Every other file follows, the short ones as they are found.
FIRST = [
    "test_any_folder", "test_lab", "test_pythons", "test_playing",
    "test_colab", "test_trackers", "test_instructor", "test_corpus", "test_exercises",
    "test_experiments", "test_bookbuild", "test_records", "test_reading",
    "test_foundry", "test_training", "test_widgets", "test_page_grammar",
    "test_pages", "test_exercising", "test_widgets_in_the_book", "test_pdf",
    "test_progress", "test_book", "test_scripts",
]  # fmt: skip
SHOWN, LONG = 25, 5  # files in the summary's table, and the seconds that put a file there


def pytest_collection_modifyitems(items):
    """Put the files into the order in which workers take them."""
    place = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(FIRST)))


def slowest(reports) -> list[str]:
    """A line for each of the files that took longest: minutes and seconds, tests, name."""
    seconds, tests = Counter(), Counter()
    for report in reports:
        name = report.nodeid.partition("::")[0]
        seconds[name] += report.duration
        tests[name] += report.when == "call"
    long = [(name, took) for name, took in seconds.most_common(SHOWN) if took >= LONG]
    return [f"{took // 60:4.0f}:{took % 60:04.1f} {tests[name]:5}  {name}" for name, took in long]


def pytest_terminal_summary(terminalreporter):
    """Say what took longest, which Pythons were tested, and which chapters are their reader's."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    if lines := slowest(report for report in reports if hasattr(report, "duration")):
        terminalreporter.section("the slowest files: minutes, tests")
        terminalreporter.write("".join(f"{line}\n" for line in lines))
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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A single thread for torch: several processes that train at once share the cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A small text, prepared: two thousand characters, which stand beside it in a.txt."""
    from gptlib.engine.prepare import prepare

    folder = tmp_path_factory.mktemp("data")
    text = "the cat sat on the mat and the dog sat on the log. " * 40
    (folder / "a.txt").write_text(text, encoding="utf-8")
    return prepare([folder / "a.txt"], folder / "made").folder


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
