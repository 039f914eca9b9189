"""What the measurements share, and the page that quotes them: no figure is typed by hand."""

from __future__ import annotations

import doctest
import json
import re
import sys
import time
from pathlib import Path

import measured
import pytest
from chapterfiles import chapters

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / measured.PAGE).read_text(encoding="utf-8")
QUOTED = [name for _, name, _ in measured.BLOCK.findall(PAGE)]


@pytest.fixture(scope="module")
def measuring():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import measuring
    finally:
        sys.path.pop(0)
    return measuring


# The page ----------------------------------------------------------------------------------------


def test_the_page_is_what_the_records_say():
    """`python book/tools/measured.py` writes it anew."""
    assert measured.written(PAGE) == PAGE
    assert sorted(QUOTED) == sorted(measured.SECTIONS)


@pytest.mark.parametrize("name", sorted(measured.SECTIONS))
def test_another_record_is_another_page(name, tmp_path):
    for each in {
        *measured.SECTIONS,
        *(other for beside in measured.BESIDE.values() for other in beside),
    }:
        text = measured.place(each).read_text(encoding="utf-8")
        if each == name:
            text = re.sub(r"\d\.\d+", "7.77", text)
        copy = tmp_path / measured.place(each).relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, encoding="utf-8")
    other = measured.written(PAGE, tmp_path)
    assert other != PAGE and "7.77" in other


def test_no_figure_of_a_measurement_stands_outside_the_blocks():
    """What is left are names and sizes that were chosen: GPT-2, float32, 512 merges."""
    prose = re.sub(r"```.*?```|`[^`]*`|\(.*?\)", "", measured.BLOCK.sub("", PAGE), flags=re.S)
    chosen = {"1", "2", "32", "6", "8", "9", "12", "16", "64", "127", "124", "512", "0.8"}
    assert {*re.findall(r"\d+(?:\.\d+)?", prose)} <= chosen


def test_each_section_says_when_and_with_what():
    for part in PAGE.split("## ")[2:]:
        assert re.search(r"Measured on 20\d\d-\d\d-\d\d, .*, with .*\d\.\d", part), part[:40]


def record(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_what_the_words_of_the_page_say_is_in_the_records():
    """The sentences that compare, each by its figures."""
    speed = record("int8")["speed"]
    small, large = (speed[name]["times_float32"] for name in ("stories", "gpt2-small"))
    assert small["int8"] > 0.95 and large["int8"] < 0.8  # nothing gained; clearly less time
    assert large["PyTorch's dynamic int8"] < large["int8"]
    assert large["int8 without the kernel"] > 1.2
    skills = record("int8")["exam"]["skills"]
    for name, shares in skills.items():
        assert all(share > skills["float32"][s] - 0.001 for s, share in shares.items()), name
    cost = record("generation")["ms_per_token"]
    first, last = list(cost.values())
    for name in ("ours", "nanogpt", "transformers"):  # costs more the longer the text is
        assert last[name] > 1.2 * first[name]


def test_the_goal_on_the_stories_is_judged_by_the_middle_seed_in_a_third_of_the_time():
    """A record with whole runs of its own: their seconds count, each beside its own seed's."""
    kept = measured.read("speed")
    assert "is missed. Of these runs the middle seed is that near from 100%" in measured.speed(kept)

    def run(above, seconds):
        return {"above_floor": above, "seconds": seconds}

    book = {str(seed): run(0.025, 100 + 100 * seed) for seed in range(3)}
    for ends, share, said in (
        (
            (0.02, 0.029, 0.09),
            0.3,
            "is reached. Of these runs the middle seed is that near from 30%",
        ),
        (
            (0.02, 0.031, 0.01),
            0.3,
            "is reached. Of these runs the middle seed is that near from 30%",
        ),
        (
            (0.02, 0.031, 0.04),
            0.3,
            "is missed. Of these runs the middle seed is that near from 100%",
        ),
        (
            (0.02, 0.029, 0.03),
            0.4,
            "is missed. Of these runs the middle seed is that near from 40%",
        ),
    ):
        quick = {s: run(end, share * book[s]["seconds"]) for s, end in zip(book, ends, strict=True)}
        told = measured.speed(kept | {"whole": {"adamw": {"3100": book}, "muon": {"900": quick}}})
        assert (
            said in told
            and f"| the page's, by the processor's time | 3 | 900 | {share:.1%}" in told
        )


def test_the_worked_values_of_the_tool_come_out():
    told = doctest.testmod(measured)
    assert told.attempted and not told.failed


# What the scripts share --------------------------------------------------------------------------


def test_all_take_turns_and_waiting_costs_nothing(measuring):
    order = []

    def run(name, seconds):
        order.append(name)
        time.sleep(seconds)

    seconds = measuring.in_turn({n: lambda n=n: run(n, 0.05) for n in "abc"}, 3)
    assert "".join(order) == "abcbcacab"
    assert all(len(one) == 3 and max(one) < 0.04 for one in seconds.values())


def test_ratios_are_those_of_neighbours(measuring):
    seconds = {"ours": [1.0, 10.0, 4.0], "theirs": [2.0, 50.0, 4.0]}
    assert measuring.ratios(seconds, "ours") == {"theirs": 2.0}
    assert measuring.medians(seconds) == {"ours": 4.0, "theirs": 4.0}


WORK = """\
import sys
sys.path.insert(0, {folder!r})
import measuring
measuring.tell_peak(lambda: bytearray({mb} * 10**6))
"""


def test_the_peak_is_that_of_the_process_that_works(measuring, tmp_path):
    """Not that of the one that starts it, which may be larger."""
    own = bytearray(300 * 10**6)
    script = tmp_path / "work.py"
    for mb in (5, 80):
        script.write_text(WORK.format(folder=str(ROOT / "benchmarks"), mb=mb), encoding="utf-8")
        told = measuring.peak_of(str(script))
        assert told["work_mb"] == pytest.approx(mb, abs=4)
        assert told["peak_mb"] < 200 < len(own) / 10**6


def test_a_peak_that_is_forgotten_hides_nothing(measuring, tmp_path):
    """80 MB before the work, 40 in it: to the most that was held they add nothing, to now 40.

    Where the system cannot forget, nothing happens.
    """
    linux = Path("/proc/self/clear_refs").exists()
    script = tmp_path / "work.py"
    for forget, added in (("", 0), ("measuring.forget_peak()", 40 if linux else 0)):
        text = WORK.format(folder=str(ROOT / "benchmarks"), mb=40)
        before = f"import measuring\nbytearray(80 * 10**6)\n{forget}\n"
        script.write_text(text.replace("import measuring\n", before), encoding="utf-8")
        assert measuring.peak_of(str(script))["work_mb"] == pytest.approx(added, abs=4)


def test_without_a_peer_the_record_stays_as_it_is(measuring, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match=r"(?s)no peer.*record of the last full run stays"):
        measuring.keep(None, "x", {"a": 1}, ["no peer"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit, match=r"The rest was measured\.$"):
        measuring.keep(tmp_path / "out.json", "x", {"a": 1}, ["no peer"])
    measuring.keep(None, "x", {"a": 1}, [])
    assert {path.name for path in tmp_path.iterdir()} == {"out.json", "x.json"}


# What is promised of a page ----------------------------------------------------------------------


def kept(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_an_explorer_s_move_was_drawn_within_one_frame_of_a_slow_page():
    """16 ms of scripting, throttled four times: the signals, the distributions, the attention."""
    record = kept("slow_page")
    assert record["slower"] == 4 and record["budget_ms"] == 16
    moves = record["ms_a_move"]
    sizes = {"2 × 1536", "10,000 drawn", "60 × 60"}
    assert {"signals", "norms", "attention", "two models"} | sizes == moves.keys()
    scripts = {(name, move): ms[0] for name, own in moves.items() for move, ms in own.items()}
    assert len(scripts) >= 50 and min(scripts.values()) > 0
    assert {move: ms for move, ms in scripts.items() if ms > 16} == {}


def test_every_chapter_was_painted_within_two_seconds_of_a_slow_line():
    pages = kept("first_paint")["pages"]
    there = {f"chapters/{path.stem}.html" for path in chapters(ROOT)}
    assert there == {page for page in pages if page.startswith("chapters/")}
    assert {page: one for page, one in pages.items() if one["first_paint"] >= 2} == {}
    assert {page: one for page, one in pages.items() if one["bytes"] >= 1_500_000} == {}


def test_the_page_s_gpt_wrote_a_thousand_tokens_a_second_and_took_its_exam_in_two():
    record = kept("page_speed")
    assert record["target"] == 1000 and record["tokens_per_second"] >= 1000
    assert record["exam_stories"] >= 100 and record["exam_seconds"] <= 2
    assert (
        record["page"]["tokens_per_second"] >= 1000
    )  # the widget's own, in Chromium, by the clock
