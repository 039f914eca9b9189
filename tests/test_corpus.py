"""The stories, their exact probabilities, the judge, the floor and the loader."""

import bz2
import hashlib
import lzma
import math
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptlib import corpus
from gptlib.corpus import END, GRAMMAR, floor, judge, load, stories, storybook
from gptlib.corpus.grammar import Choice, Failure, Grammar
from gptlib.corpus.story import Story
from gptlib.tokenizer import BPETokenizer, CharTokenizer

SAMPLE = stories(20_000, seed=7)
FEW = SAMPLE[:300]


def words(text):
    return re.findall(r"[a-z']+", text.lower())


@pytest.fixture(scope="module")
def tokenizer():
    text = "".join(story.text for story in SAMPLE[:1000])
    return BPETokenizer.train(text, 600, special_tokens=[END])


# --- what the issue of a good corpus asks for, counted


def test_size_of_the_language():
    lengths = [len(words(story.text)) for story in SAMPLE]
    types = {word for story in SAMPLE for word in words(story.text)}
    print(f"{len(types)} word types, {min(lengths)} to {max(lengths)} words a story")
    assert 700 <= len(types) <= 1000
    assert min(lengths) >= 40 and max(lengths) <= 100


def test_at_least_ten_plots_with_different_structure():
    shapes = defaultdict(set)
    for story in FEW:
        # the structure: which skills are tested in which order, and who speaks how often
        skills = tuple(label.skill for label in story.labels)
        shapes[story.plot].add((skills, story.text.count('"')))
    assert len(shapes) >= 10
    for a in shapes:
        for b in shapes:
            assert a == b or not shapes[a] & shapes[b], (a, b)


def test_every_skill_is_tested_and_explained():
    counts = Counter(label.skill for story in SAMPLE for label in story.labels)
    wanted = {"name", "pronoun", "colour", "count", "cause", "ending"}
    assert wanted <= set(counts) <= set(corpus.SKILLS)
    assert min(counts.values()) > 500


def test_a_million_stories_would_differ():
    assert len({story.text for story in SAMPLE}) == len(SAMPLE)


def test_no_word_carries_stray_white_space():
    for story in SAMPLE[:2000]:
        assert story.text == " ".join(story.text.split())


# --- probabilities


def test_one_text_one_derivation_and_its_probability():
    """Every derivation of 20,000 stories is looked for; each has one, the generator's own."""
    for story in SAMPLE:
        derivations, _, prices = GRAMMAR.read(story.text)
        assert derivations == [story.derivation]
        assert prices[-1] == pytest.approx(story.nats, abs=1e-9)


def test_probability_is_the_product_of_the_choices():
    for story in FEW:
        p = math.prod(1 / choice.options for choice in story.derivation.choices)
        assert math.exp(-story.nats) == pytest.approx(p, rel=1e-9)


def test_labelled_places_leave_one_possibility():
    for story in SAMPLE[:2000]:
        prices = GRAMMAR.read(story.text)[2]
        for label in story.labels:
            assert prices[label.start] == pytest.approx(prices[label.end], abs=1e-9), label


def test_entropy_is_the_mean_of_the_nats():
    nats = [story.nats for story in SAMPLE]
    mean = sum(nats) / len(nats)
    error = (sum((x - mean) ** 2 for x in nats) / len(nats)) ** 0.5 / len(nats) ** 0.5
    print(f"entropy {GRAMMAR.entropy():.3f} nats a story; mean of 20,000: {mean:.3f} ± {error:.3f}")
    assert abs(GRAMMAR.entropy() - mean) < 4 * error


PETS = ["cat", "car", "owl"]
NUMBERS = [{"text": t} for t in "123"]
TINY = Grammar(
    {"s": ["{x=pet} [and|or] {y=pet-x}<t>.", "a {n=many} {m=number<n}"], "t": ["", " {x~}"]},
    {
        "pet": [{"text": t} for t in PETS],
        "number": NUMBERS,
        "many": NUMBERS[1:],
    },
    {},
    {},
    "s",
)
# All that it can say, and how likely.
TINY_TEXTS = {
    f"{x} {c} {y}{t}.": 1 / (2 * 3 * 2 * 2 * 2)
    for x in PETS
    for c in ("and", "or")
    for y in PETS
    if x != y
    for t in ("", f" {x}")
} | {"a 2 1": 1 / 4, "a 3 1": 1 / 8, "a 3 2": 1 / 8}


def test_a_tiny_grammar_sums_to_one_and_its_prefixes_do():
    """All of it written out; each price is the sum over the texts that begin so."""
    texts = TINY_TEXTS
    assert sum(texts.values()) == pytest.approx(1)
    for text, p in texts.items():
        derivations, _, prices = TINY.read(text)
        assert [math.exp(-d.nats) for d in derivations] == [pytest.approx(p)]
        for k in range(len(text) + 1):
            mass = sum(q for t, q in texts.items() if t.startswith(text[:k]))
            assert math.exp(-prices[k]) == pytest.approx(mass), text[:k]
    nats = -sum(p * math.log(p) for p in texts.values())
    assert TINY.entropy() == pytest.approx(nats)


def test_brackets_may_stand_in_brackets():
    nested = Grammar({"s": ["x[a|[b|c]d[e|f[g|h]]|{p=pet}]<t>"], "t": ["[|!]"]},
                     {"pet": [{"text": t} for t in PETS]}, {}, {}, "s")  # fmt: skip
    ends = {"e": 1 / 2, "fg": 1 / 4, "fh": 1 / 4}
    inner = {f"{x}d{y}": 1 / 2 * p for x in "bc" for y, p in ends.items()}
    whole = {"a": 1, **inner, **{pet: 1 / 3 for pet in PETS}}
    texts = {f"x{text}{end}": p / 3 / 2 for text, p in whole.items() for end in ("", "!")}
    assert sum(texts.values()) == pytest.approx(1)
    for text, p in texts.items():
        (found,), _, _ = nested.read(text)
        assert math.exp(-found.nats) == pytest.approx(p)
    taken = [(choice.taken, choice.index) for choice in nested.read("xcdfh!")[0][0].choices]
    assert taken == [
        ("x[a|[b|c]d[e|f[g|h]]|{p=pet}]<t>", 0), ("[b|c]d[e|f[g|h]]", 1), ("c", 1), ("f[g|h]", 1),
        ("h", 1), ("[|!]", 0), ("!", 1),
    ]  # fmt: skip
    rng = Random(0)
    assert {nested.write(rng)[0] for _ in range(500)} == set(texts)


LOST = ["[a|b", "a|b]", "a|b", "a]b[", "[a]|[b]", "a < b", "{x=pet", "[a]]"]


@pytest.mark.parametrize("wording", LOST)
def test_a_wording_of_which_a_part_would_be_lost_is_refused(wording):
    with pytest.raises(
        ValueError, match=r"rule 's': cannot read .*needs its partner, and . stands"
    ):
        Grammar({"s": [wording]}, {"pet": [{"text": "cat"}]}, {}, {}, "s")


def test_where_reading_stops_at_the_first_letter_the_place_is_0():
    [], failure, prices = TINY.read("#1")
    assert failure == Failure(0, ("a ", *PETS), "wording")
    assert prices == [0, math.inf, math.inf]
    assert TINY.read("")[1] == failure


def test_what_returns_knows_where_it_was_last_said():
    """What follows from several is as far back as the one of them that was said last the longest
    time ago; a place that is marked for a skill goes before the word itself."""
    both = (("x", "y"), lambda memory: {"text": memory["x"]["text"] + memory["y"]["text"]})
    wording = "{x=pet} {y=pet-x} {x~} {@order}? {y~order} {both~} {both~}"
    grammar = Grammar(
        {"s": [wording]}, {"pet": [{"text": t} for t in PETS]}, {"both": both}, {}, "s"
    )
    (found,), _, _ = grammar.read("cat owl cat ? owl catowl catowl")
    assert [copy.start for copy in found.copies] == [8, 12, 14, 18, 25]
    assert grammar.said(found) == [0, 12, 12, 8, 18]


def test_ambiguous_rules_are_refused_or_seen():
    with pytest.raises(ValueError, match="twice"):
        Grammar({"s": ["a[b|b]"]}, {}, {}, {}, "s")
    two = Grammar({"s": ["[a|ab][bc|c]"]}, {}, {}, {}, "s")
    assert len(two.read("abc")[0]) == 2  # the reader finds every derivation, not only the first


# --- the same bytes everywhere

STORIES_SHA256 = "8e686d649195053e51da3020b7bdac50e1234ecadf04176a1260adef126bf179"


def digest(n):
    return hashlib.sha256(load("stories", n=n).encode()).hexdigest()


def test_same_seed_same_bytes():
    assert digest(1000) == STORIES_SHA256


def test_same_bytes_in_another_process():
    """Other hashes, other process; test_pythons.py runs this file on every other Python found."""
    code = (
        "import hashlib, random\n"
        "from gptlib.corpus import storybook as b\nfrom gptlib.corpus.grammar import Grammar\n"
        "g = Grammar(b.RULES, b.ROWS, b.COMPUTED, b.SKILLS, 'story')\n"
        "r = random.Random(0)\n"
        f"t = ''.join(g.write(r)[0] + {END!r} for _ in range(1000))\n"
        "print(hashlib.sha256(t.encode()).hexdigest())\n"
        "heavy = {'torch', 'requests', 'tqdm', 'filelock', 'tiktoken'}\n"
        "import sys\nprint(heavy & set(sys.modules))"
    )
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    # And what only a download or a model needs is not imported for it.
    assert run.stdout.splitlines() == [STORIES_SHA256, "set()"]


def test_longer_lists_begin_with_shorter_ones_and_seeds_differ():
    assert stories(5, seed=3) == stories(50, seed=3)[:5]
    assert stories(5, seed=3) != stories(5, seed=4)
    assert stories(5) == stories(5, seed=0)


@pytest.mark.parametrize(("n", "seed", "name"), [(-1, 0, "n"), (1.5, 0, "n"), (1, -1, "seed")])
def test_bad_numbers_name_the_argument(n, seed, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        stories(n, seed)


# --- the floor


def test_floor_counts_the_end_mark_and_converts_units(tokenizer):
    f = floor(FEW, tokenizer)
    assert f.nats_per_story == pytest.approx(sum(s.nats for s in FEW) / len(FEW))
    assert f.nats_per_char == pytest.approx(
        f.nats_per_story / (sum(len(s.text) + 1 for s in FEW) / len(FEW))
    )
    assert f.bits_per_char == pytest.approx(f.nats_per_char / math.log(2))
    ids = tokenizer.encode("".join(s.text + END for s in FEW), allowed_special="all")
    assert f.nats_per_token == pytest.approx(sum(s.nats for s in FEW) / len(ids))
    assert f.bits_per_token == pytest.approx(f.nats_per_token / math.log(2))
    without = floor(FEW)
    assert (without.nats_per_token, without.bits_per_token) == (None, None)
    assert without.nats_per_story == f.nats_per_story
    with pytest.raises(ValueError, match="at least one story"):
        floor([])


def test_the_floor_is_the_entropy_and_every_other_reader_pays_more():
    """A language small enough to write down, each text as often as its probability says."""
    often = {text: round(48 * p) for text, p in TINY_TEXTS.items()}
    assert sum(often.values()) == 48
    told = {text: Story(text, TINY.read(text)[0][0]) for text in often}
    whole = [told[text] for text, k in often.items() for _ in range(k)]
    found = floor(whole)
    entropy = -sum(p * math.log(p) for p in TINY_TEXTS.values())
    assert found.nats_per_story == pytest.approx(entropy)
    chars = sum(p * (len(text) + 1) for text, p in TINY_TEXTS.items())  # and one for END
    assert found.nats_per_char == pytest.approx(entropy / chars)
    rng = Random(0)
    for _ in range(100):  # readers who believe in other probabilities
        belief = {text: k * rng.random() ** 0.1 for text, k in often.items()}
        total = sum(belief.values())
        paid = -sum(p * math.log(belief[text] / total) for text, p in TINY_TEXTS.items())
        assert paid > found.nats_per_story


def test_no_compressor_writes_the_stories_shorter_than_the_floor():
    """Programs that know nothing of the grammar learn it from 5,000 stories, and not all of it."""
    few = SAMPLE[:5000]
    text = "".join(story.text + "\n" for story in few).encode()
    least = sum(story.nats for story in few) / math.log(2)
    best = min(8 * len(bz2.compress(text)), 8 * len(lzma.compress(text)))
    print(
        f"{len(text)} bytes; {best / len(text):.3f} bits a character, floor {least / len(text):.3f}"
    )
    assert floor(few).bits_per_char == pytest.approx(least / len(text))
    assert least < best < 4 * least


def test_surprisals_add_up_to_the_story(tokenizer):
    chars = CharTokenizer("".join(s.text for s in SAMPLE[:2000]))
    for story in FEW[:50]:
        for t in (tokenizer, chars):
            costs = corpus.surprisals(story, t)
            assert len(costs) == len(t.encode(story.text)) + 1
            assert sum(costs) == pytest.approx(story.nats)
            assert min(costs) > -1e-9


def test_window_floor_bounds(tokenizer):
    low, high = corpus.window_floor(FEW, tokenizer, 64)
    assert low == pytest.approx(floor(FEW, tokenizer).nats_per_token)
    assert low < high
    assert corpus.window_floor(FEW, tokenizer, 6400)[1] - low == pytest.approx((high - low) / 100)
    with pytest.raises(ValueError, match="context_length"):
        corpus.window_floor(FEW, tokenizer, 0)


@pytest.mark.parametrize(
    ("rule", "reached"),
    [
        ("ab", True),
        ("{x=pet}.", True),
        ("{x=pet}{=pet}{x~}.", True),
        ("{x=pet}{y=pet-x}{x~}{y~}", False),  # the second pet says something of the first
        ("{x=later}{y=pet<x}--{y~}", False),
    ],
)
def test_window_bounds_against_an_exact_count(monkeypatch, rule, reached):
    """Grammars small enough to enumerate every window: the best loss lies between the bounds.

    Where a window shows all that was hidden from it, the upper bound is reached.
    """
    pets = [{"text": t} for t in "abc"]
    tables = {"pet": pets, "later": pets[1:]}
    grammar = Grammar({"s": [rule]}, tables, {}, {}, "s")
    book = corpus.VOLUMES[1]._replace(grammar=grammar)
    monkeypatch.setitem(corpus.VOLUMES, 1, book)
    mark = "\n"
    rng = Random(0)
    texts = sorted({grammar.write(rng)[0] for _ in range(200)})
    told = [Story(text, grammar.read(text)[0][0]) for text in texts]
    p = [math.exp(-story.nats) for story in told]
    assert sum(p) == pytest.approx(1)  # every text there is
    whole = [s for s, q in zip(told, p, strict=True) for _ in range(round(36 * q))]
    for length in (1, 2, 5):
        windows = Counter()
        for stories_ in product(range(len(told)), repeat=2 if length < 5 else 3):
            run = "".join(texts[i] + mark for i in stories_)
            for at in range(len(texts[stories_[0]]) + 1):
                windows[run[at : at + length]] += math.prod(p[i] for i in stories_)
        n = windows.total()
        best = -sum(k / n * math.log(k / n) for k in windows.values()) / length
        low, high = corpus.window_floor(whole, CharTokenizer("".join(texts)), length)
        assert low - 1e-9 <= best <= high + 1e-9
        if reached and length == 5:
            assert high == pytest.approx(best)


# --- the judge


def test_judge_inverts_the_generator():
    text = "".join(story.text + END for story in SAMPLE[:1000])
    result = judge(text, known=[s.text for s in SAMPLE[:400]])
    assert (result.well_formed, result.new, result.distinct) == (1.0, 0.6, 1.0)
    assert result.broken == {}
    for verdict, story in zip(result.verdicts, SAMPLE, strict=False):
        assert verdict.derivation == story.derivation
        assert verdict.nats == story.nats


def test_judge_names_the_broken_skill():
    """At each label of 200 stories, another word of its kind: the judge names the rule."""
    rng = Random(0)
    missed = Counter()
    total = Counter()
    vocabulary = defaultdict(set)
    for story in SAMPLE[:500]:
        for label in story.labels:
            vocabulary[label.skill].add(story.text[label.start : label.end])
    for story in SAMPLE[:200]:
        for label in story.labels:
            right = story.text[label.start : label.end]
            others = [
                w for w in sorted(vocabulary[label.skill]) if w[0].isupper() == right[0].isupper()
            ]
            wrong = rng.choice([w for w in others if w != right and not w.startswith(right)])
            broken = story.text[: label.start] + wrong + story.text[label.end :]
            verdict = judge(broken).verdicts[0]
            assert not verdict.ok
            total[label.skill] += 1
            missed[label.skill] += verdict.skill != label.skill
    print({skill: f"{1 - missed[skill] / total[skill]:.3f}" for skill in total})
    assert sum(missed.values()) == 0


def test_judge_says_where_and_what_in_words():
    story = next(s for s in SAMPLE if s.plot == "sharing")
    name = next(c.taken for c in story.derivation.choices if c.name == "hero")
    label = next(la for la in story.labels if la.skill == "name")
    other = "Tom" if name[0] != "T" else "Mia"
    text = story.text[: label.start] + other + story.text[label.end :]
    verdict = judge(text).verdicts[0]
    assert (verdict.skill, verdict.position) == ("name", label.start)
    assert f'expected "{name}"' in verdict.message
    assert corpus.SKILLS["name"] in verdict.message
    early = judge(story.text[:-9]).verdicts[0]
    assert early.skill == "end" and "stops" in early.message
    assert judge(story.text + " And so on.").broken == {"ending": 1}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Mi", '"Mia" or "Milo"'),
        ("Be", '"Behind a herb garden" or "Beside a lake" or "Ben"'),
        ("M", '"Mia" or "Maya" or "Max" or another'),
    ],
)
def test_judge_names_three_of_what_was_expected_and_says_if_there_are_more(text, wanted):
    assert judge(text).verdicts[0].message == (
        f"the story stops after {len(text)} characters, where {wanted} should follow"
    )
    message = judge(text + "#" * 19 + "?!").verdicts[0].message
    assert message == (
        f'character {len(text)}: expected {wanted}, found "{"#" * 19}?" '
        "(the words are those of the stories)"
    )
    assert judge(text + "#\n#").verdicts[0].message.count("#") == 1  # one line of what was found


def test_judge_of_one_story_and_of_none():
    one, none = judge(SAMPLE[0].text), judge(" \n ")
    assert (one.well_formed, one.new, one.distinct, one.broken) == (1.0, 1.0, 1.0, {})
    assert (one.verdicts[0].ok, judge("Mia").verdicts[0].ok) == (True, False)
    assert judge("Mia").verdicts[0].nats is None
    assert judge(SAMPLE[0].text, known=[SAMPLE[0].text]).new == 0.0
    assert none.verdicts == ()
    assert (none.well_formed, none.new, none.distinct, none.broken) == (0.0, 0.0, 0.0, {})


def test_judge_lists_the_broken_rules_with_the_most_frequent_first():
    wrong_pronoun, wrong_words = "Mia was a shy boy", "Mia #"
    texts = [wrong_words, *[wrong_pronoun] * 3, SAMPLE[0].text]
    assert list(judge(END.join(texts)).broken.items()) == [("pronoun", 3), ("wording", 1)]


def test_judge_counts_repeats_and_ignores_white_space_around():
    a, b = SAMPLE[0].text, SAMPLE[1].text
    result = judge(f"\n{a}\n{END}\n{b}{END}{a}{END}  ")
    assert len(result.verdicts) == 3
    assert result.distinct == pytest.approx(2 / 3)


@given(
    st.one_of(
        st.text(), st.lists(st.sampled_from([END, "Mia", " was", " a", "\x00", "é"])).map("".join)
    )
)
def test_judge_never_raises(text):
    result = judge(text)
    assert result.well_formed == 0.0
    assert sum(result.broken.values()) == len(result.verdicts)


@given(st.integers(0, 299), st.integers(0, 400), st.text(max_size=5), st.integers(0, 30))
def test_judge_never_raises_on_damaged_stories(i, at, insert, cut):
    text = FEW[i].text
    judge(text[:at] + insert + text[at + cut :])


@pytest.mark.parametrize("thing", [None, 3, b"Mia", ["Mia"], "\ud800", "x" * 300_000, END * 1000])
def test_judge_never_raises_on_strange_things(thing):
    assert judge(thing).well_formed == 0.0


# --- the loader


def test_load_stories_is_stories_and_end_marks():
    assert load("stories", n=3, seed=5) == "".join(s.text + END for s in stories(3, seed=5))


def test_load_takes_thirty_thousand_stories_of_seed_0(monkeypatch):
    asked = []
    monkeypatch.setattr("gptlib.corpus.loader.stories", lambda *a: asked.append(a) or FEW[:1])
    assert load("stories") == FEW[0].text + END
    assert asked == [(30_000, 0, 1)]  # as chapter 7 counts them


def test_load_of_a_public_text_is_what_was_fetched(tmp_path, monkeypatch):
    asked = []

    def fetch(name):
        asked.append(name)
        (tmp_path / "play.txt").write_bytes("\ufeffTo be,\r\nor not".encode())
        return tmp_path / "play.txt"

    monkeypatch.setattr("gptlib.given.download.fetch", fetch)
    assert load("tinyshakespeare") == "To be,\nor not"
    assert asked == ["tinyshakespeare"]


def test_load_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("Grüße aus dem Garten\n", encoding="utf-8")
    assert load(path) == load(str(path)) == "Grüße aus dem Garten\n"


def test_load_clear_errors(tmp_path):
    with pytest.raises(ValueError, match=r"one of 'stories', 'tinyshakespeare', .* or the path"):
        load("tinyshakespear")
    empty = tmp_path / "empty.txt"
    empty.touch()
    with pytest.raises(ValueError, match="empty"):
        load(empty)
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        load(latin)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("no/such/file.txt", "there is no file"),
        (b"stories", "a bytes is neither"),
        (None, "a NoneType is neither"),
        (7, "a int is neither"),
        (["stories"], "a list is neither"),
        ({}, "a dict is neither"),
        (".", "that is a folder: name a text file in it"),
        ("~no-such-user-here/x.txt", "home directory"),
        ("a\0b.txt", "there is no file"),
        ("\ud800.txt", "there is no file"),
        ("a" * 5000, "A text that you have already needs no loading"),
        ("To be,\nor not to be", "A text that you have already needs no loading"),
        ("\x1b[2J", "there is no file"),
    ],
)
def test_load_says_why_there_is_nothing_to_load(monkeypatch, bad, why):
    monkeypatch.setenv("USERNAME", "other")  # Windows guesses at homes beside one's own
    with pytest.raises(
        ValueError, match=r"name_or_path must be one of 'stories', .*; got "
    ) as told:
        load(bad)
    assert why in str(told.value)
    assert str(told.value).isprintable() and len(str(told.value)) < 400


def test_load_of_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        load(tmp_path)


def test_load_finds_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine.txt").write_text("A garden.")
    assert load("~/mine.txt") == "A garden."


def test_load_reads_the_real_files(shared_data):
    text = load(shared_data / "tinyshakespeare.txt")
    assert (len(text), len(set(text))) == (1_115_394, 65)
    sample = load(shared_data / "tinystories_sample.txt")
    assert END in sample and "“" in sample


# --- the sample in data/


def test_data_sample_is_what_its_card_says():
    folder = Path(__file__).parent.parent / "data"
    text = (folder / "stories.txt").read_text(encoding="utf-8")
    train, val = text.split("# validation\n")
    train = train.split("# training\n")[1]
    wanted = [(train, 0), (val, 1)]
    for part, seed in wanted:
        shown = [p for p in part.strip().split("\n\n") if p]
        assert shown == [s.text for s in stories(len(shown), seed=seed)]
        assert len(shown) >= 5, "the card speaks of stories, and there are none"
    assert len(storybook.RULES["story"]) >= 10
    assert isinstance(SAMPLE[0].derivation.choices[0], Choice)


@pytest.mark.parametrize(
    ("thing", "field"),
    [
        (FEW[0], "text"),
        (FEW[0].derivation, "nats"),
        (floor(FEW), "nats_per_story"),
        (judge("Mia"), "known"),
        (judge("Mia").verdicts[0], "skill"),
        (GRAMMAR.read("Mia")[1], "position"),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_what_was_found_out_cannot_be_changed(thing, field):
    with pytest.raises(AttributeError, match="cannot assign"):
        setattr(thing, field, getattr(thing, field))
