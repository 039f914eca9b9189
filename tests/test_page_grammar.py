"""The stories' answer key in the page beside Python's: parser, judge, marks of tokens, exam."""

from __future__ import annotations

import json
import math
import re
from random import Random

import pytest
import torch
from bookmodel import book
from scripts import run_script

from gptlib import corpus
from gptlib.corpus.grammar import Grammar
from gptlib.corpus.scoring import AnswerKey
from gptlib.widgets import switched_off
from gptlib.widgets.model_file import model_bytes
from gptlib.widgets.story_key import EXAM, answer_key, as_data, exam_stories

KEY = """
const { AnswerKey } = await module("answer_key.js");
const key = new AnswerKey(given.key);
"""
OPEN = """
const { readModel } = await module("model_file.js");
const { ready } = await module("reader.js");
const { config, vocabulary, model } = ready(readModel(data));
"""


def in_page(code: str, data: bytes = b"", **given) -> object:
    return run_script(KEY + code, {"key": answer_key(), **given}, data)


# The parser --------------------------------------------------------------------------------------

SIGNS = ["é", "🍎", "\ufeff", "\u0301", "\x1c", "\x85", "\u3000", "\n", '"', "<|end", "\ufffd"]


def broken(story: str, other: str, rng: Random) -> str:
    """A story with a fault, of one of a dozen kinds."""
    words, theirs = story.split(" "), other.split(" ")
    i, j = sorted(rng.sample(range(len(words)), 2))
    cut = rng.randrange(len(story))
    kinds = [
        lambda: story[:cut],
        lambda: story[:cut] + story[cut + 1 :],
        lambda: story[:cut] + rng.choice(SIGNS) + story[cut:],
        lambda: story[:cut] + other[cut:],
        lambda: story + " " + other,
        lambda: story + rng.choice([" And", ".", "x", " ."]),
        lambda: " ".join([*words[:i], words[j], *words[i + 1 : j], words[i], *words[j + 1 :]]),
        lambda: " ".join([*words[:i], words[i], *words[i:]]),
        lambda: " ".join([*words[:i], *words[i + 1 :]]),
        lambda: " ".join([*words[:i], rng.choice(theirs), *words[i + 1 :]]),
        lambda: " ".join([*words[:i], words[i].swapcase(), *words[i + 1 :]]),
        lambda: story.replace(words[0], "Wolfgang", rng.choice([1, -1])),
        lambda: rng.choice(["one", "two", "red", "Mia", "he", "she"]).join(
            story.rsplit(rng.choice(["three", "four", "blue", "Tom", "she", "he"]), 1)
        ),
    ]
    return rng.choice(kinds)()


def texts(n: int) -> list[str]:
    """`n` texts from a fixed seed: one half stories, the other stories with a fault."""
    rng, told = Random(5), [story.text for story in corpus.stories(n, seed=5)]
    spoilt = [broken(told[k], told[-1 - k], rng) for k in range(n // 2)]
    return told[n // 2 :] + spoilt


COPY = ("slot", "skill", "start", "end", "sure")


def said_of(verdict) -> tuple:
    return (verdict.text, verdict.ok, verdict.skill, verdict.position, verdict.message)


@pytest.mark.slow
def test_the_page_judges_as_python_does():
    """5,000 texts, half of them with a fault: verdict, place, rule, words, price and labels."""
    asked = texts(5000)
    asked[:66] = [sign + text + sign for sign, text in zip(SIGNS * 6, asked[:66], strict=True)]
    got = in_page("return given.texts.map((text) => key.judge(text));", texts=asked)
    faults = set()
    for text, found in zip(asked, got, strict=True):
        wanted = corpus.judge(text).verdicts
        assert [said_of(v) for v in wanted] == [
            (v["text"], v["ok"], v["skill"], v["position"], v["message"]) for v in found
        ]
        for ours, theirs in zip(wanted, found, strict=True):
            faults.add(ours.skill)
            if ours.ok:
                labels = [tuple(label) for label in corpus.Story(text, ours.derivation).labels]
                assert math.isclose(ours.nats, theirs["nats"], rel_tol=0, abs_tol=1e-9)
                assert labels == [(v["skill"], v["start"], v["end"]) for v in theirs["labels"]]
    assert faults == {None, "end", *corpus.SKILLS}


def test_a_fault_is_said_in_few_words_that_are_true():
    """What stands there stands there; with what should, Python reads on past the place."""
    got = in_page("return given.texts.map((text) => key.verdict(text));", texts=texts(1200)[600:])
    words = re.compile(r"“(.+)” stands where (.+) should")
    followed = set()
    for one in got:
        text, said, at = one["text"], one["short"], one["position"]
        if one["ok"]:
            assert said is None
            continue
        assert len(said) < 145 and "character" not in said
        if one["skill"] == "end":
            assert re.fullmatch(r"the story stops, and .+ should follow", said)
            continue
        stands, should = words.fullmatch(said).groups()
        if "…" in stands:
            continue
        stands, should = (said.replace("␣", " ").replace("⏎", "\n") for said in (stands, should))
        start = text.rindex(stands, 0, at + len(stands) + 2)
        assert start - 1 <= at <= start + len(stands) + 1  # a space before or behind it
        for piece in re.findall("“([^”…]+)”", should):
            kept = text[:start], text[:start].rstrip()
            for before in (*kept, *(f"{one} " for one in kept)):
                [verdict] = corpus.judge(before + piece).verdicts
                if verdict.skill in (None, "end"):
                    followed.add(one["skill"])
                    break
            else:
                raise AssertionError((said, text[start - 20 : at + 20]))
    assert followed >= {"wording", "pronoun", "colour", "thing", "name", "helper"}


def test_the_page_splits_a_text_as_python_does():
    told = [story.text for story in corpus.stories(3, seed=6)]
    whole = [corpus.END.join([*told, "", " ", told[0][:30], "Tom"]), "", corpus.END, "\x1f"]
    got = in_page(
        "return given.texts.map((text) => key.judge(text).map((v) => v.ok));", texts=whole
    )
    assert got == [[v.ok for v in corpus.judge(text).verdicts] for text in whole]
    assert got[0] == [True, True, True, False, False] and got[1:] == [[], [], []]


def test_each_prefix_has_the_price_that_python_says():
    asked = texts(60)
    code = "return given.texts.map((text) => Array.from(key.grammar.read(text).prices));"
    for text, got in zip(asked, in_page(code, texts=asked), strict=True):
        wanted = [None if math.isinf(p) else p for p in corpus.GRAMMAR.read(text)[2]]
        # JSON has no infinity; the page counts two halves of an emoji, all behind the fault
        assert got[: len(wanted)] == pytest.approx(wanted, abs=1e-9, nan_ok=False)


def test_the_page_writes_the_stories_of_a_seed():
    """Python's random numbers, its choices and its prices: one text, character by character."""
    code = """
        const { pythonRandom } = await module("grammar.js");
        return given.seeds.map((seed) => {
          const random = pythonRandom(seed);
          const told = Array.from({ length: 100 }, () => key.grammar.write(random));
          return [told, random()];
        });
    """
    seeds = [0, 1, 7, 2**32 - 1]
    for seed, (told, after) in zip(seeds, in_page(code, seeds=seeds), strict=True):
        rng = Random(seed)
        for got in told:
            text, derivation = corpus.GRAMMAR.write(rng)
            assert got["text"] == text
            assert math.isclose(got["nats"], derivation.nats, abs_tol=1e-9)
            copies = [tuple(copy[name] for name in COPY) for copy in got["copies"]]
            assert copies == [tuple(copy) for copy in derivation.copies]
        assert after == rng.random()


def test_a_story_of_the_page_is_a_story():
    """With the page's own random numbers, which are others than Python's."""
    code = """
        const { randomNumbers } = await module("sampling.js");
        const random = randomNumbers(3);
        return Array.from({ length: 200 }, () => key.grammar.write(random));
    """
    told = in_page(code)
    verdicts = corpus.judge(corpus.END.join(story["text"] for story in told)).verdicts
    assert all(verdict.ok for verdict in verdicts)
    for story, verdict in zip(told, verdicts, strict=True):
        assert math.isclose(story["nats"], verdict.nats, abs_tol=1e-9)


def test_a_grammar_with_a_table_that_is_a_function_stays_at_home():
    rows = [{"text": "a"}]
    with pytest.raises(ValueError, match="table 't' is a function"):
        as_data(Grammar({"s": ["{x=t}"]}, {"t": lambda memory: rows}, {}, {}, "s"))


def test_what_travels_is_small():
    data = json.dumps(answer_key(), ensure_ascii=False, separators=(",", ":"))
    assert len(data.encode()) < 30_000


# Marks -------------------------------------------------------------------------------------------


def marks_of(asked: list[list[int]]) -> list[dict]:
    code = OPEN + "return given.ids.map((ids) => key.mark(ids, vocabulary));"
    return in_page(code, model_bytes(*book()), ids=asked)


def forced_tokens(story: corpus.Story) -> dict[int, str]:
    """Token of the story -> the skill it needs, as the exam of gptlib counts its places."""
    key = AnswerKey([story], book()[1])
    return {t: k for k, places in key.places.items() for _, a, b in places for t in range(a, b)}


def test_a_story_that_still_runs_is_marked_as_the_whole_one():
    """Up to every token: the same forced tokens, no rule broken, and what comes next."""
    tokenizer = book()[1]
    told = corpus.stories(14, seed=8)
    cuts = [(story, k) for story in told for k in range(len(tokenizer.encode(story.text)) + 1)]
    asked = [tokenizer.encode(story.text)[:k] for story, k in cuts]
    known = {story.text: forced_tokens(story) for story in told}
    for (story, k), got in zip(cuts, marks_of(asked), strict=True):
        forced = known[story.text]
        assert [mark["forced"] for mark in got["marks"]] == [forced.get(i) for i in range(k)]
        assert not any(mark["broken"] for mark in got["marks"])
        lone = tokenizer.encode(story.text)[k : k + 1] == tokenizer.encode(" ")
        assert got["next"] == forced.get(k + lone)  # a space may be a token of its own


def test_the_token_that_breaks_a_rule_is_marked():
    """Of each story in a text: the token at the judge's place, or END where it stops early."""
    tokenizer, rng = book()[1], Random(3)
    end = tokenizer.special_tokens[corpus.END]
    told = texts(600)[240:]
    whole = [told[k : k + rng.randrange(1, 5)] for k in range(0, len(told), 4)]
    asked = [
        tokenizer.encode(corpus.END.join([*some, ""]), allowed_special="all") for some in whole
    ]
    seen = 0
    for some, ids, got in zip(whole, asked, marks_of(asked), strict=True):
        wanted, at = [], 0
        for text in some:
            length, blank = len(tokenizer.encode(text)), len(text) - len(text.lstrip())
            for verdict in corpus.judge(text).verdicts:
                place = length
                if verdict.skill not in (None, "end"):
                    far = blank + verdict.position
                    place = next(k for k in range(length) if len_of(ids[at : at + k + 1]) > far)
                if not verdict.ok:
                    wanted.append((at + place, verdict.skill, verdict.message))
            at += length + 1
            assert ids[at - 1] == end
        broken = [(i, m["broken"]) for i, m in enumerate(got["marks"]) if m["broken"]]
        assert [(i, v["skill"], v["message"]) for i, v in broken] == wanted
        seen += len(wanted)
    assert seen > 100 and not any(got["next"] for got in marks_of(asked[:3]))


def len_of(ids: list[int]) -> int:
    return len(book()[1].decode(ids))


# The exam ----------------------------------------------------------------------------------------

LESIONS = [[], ["blocks.1.attention.2"], ["blocks.0.feed_forward", "blocks.3.attention.1"]]


@pytest.mark.slow
def test_the_page_marks_the_exam_as_python_does():
    """The book's model, whole and without some parts: the same stories, the same marks."""
    code = (
        OPEN
        + """
        const { papers, sit } = await module("exam.js");
        const { switchOff } = await module("reader.js");
        const answer = (await module("fast_gpt.js")).fastGPT(model);
        const sheets = papers(key, vocabulary, config.context_length);
        const marks = [];
        for (const off of given.lesions) {
          switchOff(model, off);
          marks.push(await sit(answer, sheets));
        }
        return [key.examStories().map((story) => story.text), marks];
    """
    )
    model, tokenizer = book()
    told, marks = in_page(code, model_bytes(model, tokenizer), lesions=LESIONS)
    stories = exam_stories()
    assert told == [story.text for story in stories]
    key = AnswerKey(stories, tokenizer)
    for off, got in zip(LESIONS, marks, strict=True):
        with switched_off(model, off):
            wanted = key.score(model).skills
        assert {skill: of for skill, (_, of) in got.items()} == {
            skill: len(places) for skill, places in key.places.items()
        }
        for skill, (right, of) in got.items():
            assert of >= EXAM["places"] and right == round(wanted[skill] * of), (off, skill)


def test_an_exam_tells_how_far_it_is_and_can_be_stopped():
    code = (
        OPEN
        + """
        const { papers, sit } = await module("exam.js");
        const sheets = papers(key, vocabulary, config.context_length).slice(0, 40);
        const answer = (await module("fast_gpt.js")).fastGPT(model);
        const seen = [];
        const progress = (done, of) => seen.push([done, of]);
        const now = { progress, stopped: () => seen.length > 1, slice: 1 };
        const stopped = await sit(answer, sheets, now);
        let refused = null;
        try { papers(key, vocabulary, 30); } catch (error) { refused = error.message; }
        return [stopped, seen, refused];
    """
    )
    stopped, seen, refused = in_page(code, model_bytes(*book()))
    assert stopped is None and len(seen) == 2 and seen[0][1] == 40 and seen[0][0] < seen[1][0] < 40
    assert "and the model sees 30" in refused


@pytest.mark.parametrize(
    ("T", "n", "m"), [(4, 8, 8), (13, 64, 24), (5, 3, 1536), (3, 4, 8), (9, 5, 7)]
)
def test_the_fast_product_is_the_product(T, n, m):
    """Twice with other rows: what is kept of a weight is its own."""
    numbers = torch.randn(2 * T + m, n, generator=torch.Generator().manual_seed(T))
    x, y, weight = numbers.split([T, T, m])
    code = """
        const { fastMatmul, workroom } = await module("simd.js");
        const product = fastMatmul(workroom());
        const [x, y, w] = given.map((numbers) => Float32Array.from(numbers.flat()));
        const [T, n, m] = [given[0].length, given[0][0].length, given[2].length];
        const other = w.map((v) => -v);
        return [product(x, w, T, n, m), product(x, other, T, n, m), product(y, w, T, n, m)];
    """
    found = run_script(code, [part.tolist() for part in (x, y, weight)])
    for got, wanted in zip(found, (x @ weight.T, -x @ weight.T, y @ weight.T), strict=True):
        torch.testing.assert_close(torch.tensor(got).view(T, m), wanted, atol=1e-5, rtol=0)
