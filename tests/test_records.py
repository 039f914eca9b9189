"""The recorded runs say what the text says of them: each headline derived again from its JSON."""

from __future__ import annotations

import pytest

from gptlib import corpus
from gptlib.records import PARTS, parts_table, record

SKILLS = sorted(set(corpus.SKILLS) - {"wording"})


def test_a_name_that_is_not_recorded_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"name must be one of .*skills.*; got 'nothing'"):
        record("nothing")


def test_the_growing_table_shows_what_was_measured():
    runs = record("skills")
    lines = parts_table(up_to=6).splitlines()
    names = ["chapter", "part", "parameters", "loss", "above floor", *SKILLS]
    assert [line[:11].strip() for line in lines] == names
    # A column is 13 characters wide, so that the page need not scroll or wrap.
    columns = list(zip(*([cell.strip() for cell in cells(line)] for line in lines), strict=True))
    for (key, chapter, added), column in zip(PARTS, columns, strict=True):
        last = runs[key]["curve"][-1]
        assert column[:3] == (str(chapter), added, f"{runs[key]['parameters']:,}")
        above = last["loss"] / runs[key]["floor"] - 1
        assert column[3:5] == (f"{last['loss']:.2f}", f"{above:.0%}")
        assert [int(cell) for cell in column[5:]] == [
            round(100 * last["skills"][skill]) for skill in SKILLS
        ]
    assert len(cells(parts_table(up_to=3).splitlines()[0])) == 3
    assert max(map(len, lines)) <= 90
    with pytest.raises(ValueError, match="up_to must be 2 or more"):
        parts_table(1)


def cells(line):
    """The columns of a line of the growing table, after the name of the row."""
    return [line[i : i + 13] for i in range(11, len(line), 13)]


def test_the_gpt_comes_near_the_floor_in_two_minutes_and_tells_stories():
    gpt = record("skills")["gpt"]
    assert gpt["parameters"] < 1_000_000
    near = [point for point in gpt["curve"] if point["loss"] / gpt["floor"] < 1.10]
    assert near[0]["seconds"] <= 120 and gpt["curve"][-1] in near
    assert min(gpt["curve"][-1]["skills"].values()) > 0.9
    samples = gpt["samples"]
    assert samples["temperature"] == 0.8 and samples["stories"] >= 200
    assert samples["well_formed"] >= 0.8
    assert samples["new"] >= 0.8


def test_one_skill_comes_with_attention_and_one_with_positions():
    runs = record("skills")
    skills = {key: run["curve"][-1]["skills"] for key, run in runs.items() if key != "about"}
    for skill in ("colour", "thing", "name"):
        assert skills["bigram"][skill] < 0.1
        assert skills["attention"][skill] > 0.8
    assert skills["attention"]["order"] < 0.4 < 0.6 < skills["positions"]["order"]
    # Depth without shortcuts harms; with them it helps; and endings take several layers.
    above = {key: runs[key]["above_floor"] for key, _, _ in PARTS}
    assert above["feed_forward"] > above["positions"] > above["block"] > above["gpt"]
    assert skills["block"]["ending"] < 0.6 < 0.95 < skills["gpt"]["ending"]


def test_chapter_4_the_feed_forward_network_brings_order_and_costs_what_is_copied():
    runs = record("skills")
    before, after = runs["positions"]["curve"][-1], runs["feed_forward"]["curve"][-1]
    assert after["loss"] > before["loss"]
    assert after["skills"]["order"] > before["skills"]["order"]
    for skill in ("name", "ending"):
        assert after["skills"][skill] < before["skills"][skill]


def test_waves_bring_endings_sooner_and_hardly_a_lower_loss():
    runs = record("waves")
    above = {n: runs[n]["curve"][-1]["loss"] / runs[n]["floor"] - 1 for n in ("random", "waves")}
    for name, value in above.items():
        assert runs[name]["above_floor"] == pytest.approx(value, abs=1e-3)
        assert value < 0.06
    assert abs(above["random"] - above["waves"]) < 0.01
    learned = {
        name: next(p["step"] for p in runs[name]["curve"] if p["skills"]["ending"] > 0.9)
        for name in above
    }
    assert learned["waves"] + 200 <= learned["random"]


def test_chapter_5_shortcuts_halve_the_distance_to_the_floor():
    runs = record("skills")
    plain, block = runs["feed_forward"], runs["block"]
    assert block["parameters"] == plain["parameters"]
    assert block["above_floor"] < 0.6 * plain["above_floor"]
    before, after = plain["curve"][-1]["skills"], block["curve"][-1]["skills"]
    for skill in ("name", "order"):
        assert before[skill] < 0.9 < 0.99 < after[skill]
    assert after["ending"] < 0.6


def test_chapter_5_post_norm_is_quick_up_to_an_edge_and_pre_norm_has_none():
    places = record("norm_places")
    rates = {norm: {w: [r["lr"] for r in runs] for w, runs in by.items()}
             for norm, by in places["runs"].items()}  # fmt: skip
    assert {tuple(r) for by in rates.values() for r in by.values()} == {
        (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
    }
    survived = {
        (norm, warmup): [r["lr"] for r in runs if r["loss"] and r["loss"] < places["blind"] - 1]
        for norm, by_warmup in places["runs"].items()
        for warmup, runs in by_warmup.items()
    }
    assert len(survived["pre", "0"]) == len(survived["pre", "100"]) == 7
    assert max(survived["post", "0"]) == 0.004 and max(survived["post", "100"]) == 0.016
    best = {n: min(r["loss"] for r in by["100"]) for n, by in places["runs"].items()}
    assert best["post"] < best["pre"] < 1.3
    harsh = {n: by["0"][4] for n, by in places["runs"].items()}
    assert all(max(r["before"]) < 1.5 * min(r["before"]) for r in harsh.values())
    assert harsh["post"]["after"][0] < 1e-12 * harsh["post"]["after"][-1]
    assert harsh["pre"]["after"][0] > harsh["pre"]["after"][-1] > 1e-5
    gentle = places["runs"]["post"]["0"][2]
    assert max(gentle["branches"]) < 0.5 and min(harsh["post"]["branches"]) > 5
