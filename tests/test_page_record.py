"""What `benchmarks/page_training.py` recorded: how near the runs come, what the page holds."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest
from bookmodel import book

from gptlib.given.records import measured, record
from gptlib.gpt import GPTConfig
from gptlib.recipe import TrainConfig
from gptlib.widgets import LiveTraining

RECORD = measured("page_training")
# By one worker; those that share a step have a room each.
PAGES = {
    name: found
    for name, found in RECORD.items()
    if name.endswith("page") and not name.startswith("shared")
}


def runs_of(recipe: str) -> list[dict]:
    return [run for run in RECORD["runs"] if run["name"] == f"the book's GPT, {recipe}"]


def test_the_book_s_recipe_ends_within_three_per_cent_of_the_floor():
    """Eleven of chapter 7's seeds, and the median of the page's runs, as far as there are any."""
    slow = record("seeds")
    ends = [run["loss"][-1] / slow["floor"] - 1 for run in slow["seeds"].values()]
    assert sum(end < 0.03 for end in ends) == 11 and len(ends) == 15
    found = [run["above_floor"] for run in runs_of("the book's recipe")]
    if found:  # benchmarks/page_training.py --choice 1 --runs 3
        assert statistics.median(found) < 0.03 and max(found) <= max(ends) + 0.002


def test_the_quick_recipe_ends_between_five_and_nine_per_cent_and_comes_nearer():
    """Three seeds; where one went on, each further schedule brought it nearer.

    What they write: a seventh of it is whole at temperature 1 in the worst of them, and at the
    page's own, which is lower, no less.
    """
    found = runs_of("quick recipe")
    assert {run["seed"] for run in found} == {0, 1, 2}
    assert all(0.05 < run["above_floor"] < 0.09 for run in found)
    for run in found:
        away = [one["above_floor"] for one in [run, *run["went_on"]]]
        assert away == sorted(away, reverse=True) and len(set(away)) == len(away)
        whole = run["well_formed"]
        assert 0.14 <= whole["1"] <= whole.get("page", 1)


def test_what_a_page_holds_is_less_than_300_megabytes():
    """Each page that was measured: the short runs, and those to 10 % above the floor."""
    assert {"page", "whole_page", "slow_page"} <= PAGES.keys()
    for name, found in PAGES.items():
        assert 0 < found["mb_at_most"] < 300, name
        assert found["page_script_share"] < 0.06, name  # of the page's own thread


def test_a_page_comes_to_ten_per_cent_above_the_floor_in_four_minutes_and_leaves_its_reader_free():
    whole, two = RECORD["whole_page"], RECORD["shared_2_page"]
    assert whole["exam"] <= 1.1 * whole["floor"] and whole["seconds"] <= RECORD["limit_seconds"]
    assert RECORD["limit_seconds"] == 240 and whole["longest_task_ms"] <= 60
    assert whole["share_of_a_core"] < 1.1 and whole["page_script_share"] < 0.01
    assert 100 < whole["seconds"] < 150  # chapter 10: two minutes
    for name, low, high in (("tokens_per_second", 1.4, 1.7), ("mb_at_most", 1.4, 1.7)):
        assert low < two[name] / RECORD["page"][name] < high


def test_a_slow_page_had_a_quarter_of_a_core():
    """From its first step on, and so it took fewer steps than the free one."""
    for slow, free in (("slow_page", "page"), ("slow_whole_page", "whole_page")):
        if slow in PAGES and free in PAGES:
            assert PAGES[slow]["slower"] == 4 and PAGES[free]["slower"] == 1
            assert PAGES[slow]["share_of_a_core"] <= 0.3
            ratio = PAGES[free]["share_of_a_core"] / PAGES[slow]["share_of_a_core"]
            speed = PAGES[free]["tokens_per_second"] / PAGES[slow]["tokens_per_second"]
            assert speed == pytest.approx(ratio, rel=0.4)


# The script --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page_training():
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
    try:
        import page_training
    finally:
        sys.path.pop(0)
    return page_training


def test_a_run_is_recorded_at_its_end_and_where_it_went_on(page_training, monkeypatch):
    monkeypatch.setattr(page_training, "STORIES", 2)
    config = GPTConfig.preset("stories", n_layer=1, n_embd=16)
    recipe = TrainConfig(steps=30, batch_size=2, lr=0.02)
    found = page_training.whole_run(LiveTraining(book()[1], config, recipe, exam=4), 3, on=2)
    assert found["name"] == "your model" and found["seed"] == 3 and found["steps_to_goal"] is None
    ends = [found, *found["went_on"]]
    assert [end["steps"] for end in ends] == [30, 40, 50]
    assert ends[0]["above_floor"] > ends[1]["above_floor"] > ends[2]["above_floor"] > 1
    assert all(end["well_formed"] == {"1": 0, "page": 0} for end in ends)
    assert "at step 50" in page_training.said_of_run(found)


def test_one_run_is_kept_for_each_recipe_and_seed(page_training):
    old = [{"name": "b", "seed": 0, "x": 1}, {"name": "b", "seed": 1}]
    assert page_training.kept(old, {"name": "b", "seed": 0, "x": 2}) == [old[0] | {"x": 2}, old[1]]
    assert page_training.kept(old, {"name": "a", "seed": 4}) == [{"name": "a", "seed": 4}, *old]
