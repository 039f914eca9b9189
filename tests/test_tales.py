"""The second volume: its sizes, its probabilities, and a second reader who knows no grammar."""

import bz2
import hashlib
import lzma
import math
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict

import pytest
import torch
from bookbuild import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gptlib.corpus import END, VOLUMES, floor, judge, load, stories, surprisals, tales, window_floor
from gptlib.corpus.scoring import AnswerKey
from gptlib.tokenizer import BPETokenizer

GRAMMAR, SKILLS = VOLUMES[2]
SAMPLE = stories(8_000, seed=7, volume=2)
FEW = SAMPLE[:60]
THOUSAND = "65946165ee60a63c"  # how the hash of the first thousand begins
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def words(text):
    return re.findall(r"[\w'-]+", text)


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(load("stories", n=300, volume=2), 700, special_tokens=[END])


# --- its size


def test_size_of_the_language():
    lengths = [len(words(story.text)) for story in SAMPLE]
    types = {word for story in SAMPLE for word in re.findall(r"[a-z'-]+", story.text.lower())}
    print(f"{len(types)} word types, {min(lengths)} to {max(lengths)} words a story")
    assert 800 <= len(types) <= 1000
    assert min(lengths) >= 150 and max(lengths) <= 350


def test_every_skill_is_explained_and_tested_near_and_far():
    counts, far = Counter(), defaultdict(list)
    for story in SAMPLE[:4000]:
        for label, said in zip(story.labels, story.said, strict=True):
            counts[label.skill] += 1
            far[label.skill].append(len(words(story.text[said : label.start])))
    assert set(counts) == set(SKILLS) - {"wording"}
    assert len(counts) >= 12 and min(counts.values()) > 300
    # What was asked of most skills lies at very different distances: behind a tale of one level or
    # of three. Not so where one sentence asks what it has said (a bell, a pronoun).
    wide = [skill for skill, back in far.items() if max(back) > 1.9 * min(back)]
    assert len(wide) >= 18, sorted(set(far) - set(wide))
    assert max(far["place"]) > 250 and max(far["colour"]) > 250


def test_a_town_is_named_in_one_story_of_a_thousand_and_keeps_its_bell():
    told = re.compile(r"They came from (\w+), where the bell is made of (\w+)\.")
    bells = defaultdict(set)
    times = Counter()
    for story in SAMPLE:
        for town, bell in told.findall(story.text):
            bells[town].add(bell)
            times[town] += 1
    assert len(bells) == len(tales.ROWS["town"]) == 240
    assert all(len(bell) == 1 for bell in bells.values())
    assert 0.2 < times.total() / len(SAMPLE) < 0.3  # so each town in one story of 960
    material = Counter(bell for (bell,) in bells.values())
    assert len(material) == 16 and max(material.values()) < 40  # no bell is a safe guess


def test_no_word_carries_stray_white_space():
    for story in SAMPLE[:2000]:
        assert story.text == " ".join(story.text.split())


def test_ten_plots_with_different_structure():
    shapes = defaultdict(set)
    for story in SAMPLE[:1000]:
        # the structure: which skills are tested in which order
        shapes[story.plot].add(tuple(label.skill for label in story.labels))
    assert len(shapes) == 10
    for a in shapes:
        for b in shapes:
            assert a == b or not shapes[a] & shapes[b], (a, b)


def test_all_stories_differ():
    assert len({story.text for story in SAMPLE}) == len(SAMPLE)


# --- its probabilities


def test_one_text_one_derivation_and_its_probability():
    for story in FEW:
        derivations, _, prices = GRAMMAR.read(story.text)
        assert derivations == [story.derivation]
        assert prices[-1] == pytest.approx(story.nats, abs=1e-9)
        for label in story.labels:  # a labelled place leaves one possibility
            assert prices[label.start] == pytest.approx(prices[label.end], abs=1e-9), label


def test_entropy_is_the_mean_of_the_nats():
    nats = [story.nats for story in SAMPLE]
    mean = sum(nats) / len(nats)
    error = (sum((x - mean) ** 2 for x in nats) / len(nats)) ** 0.5 / len(nats) ** 0.5
    assert abs(GRAMMAR.entropy() - mean) < 4 * error


def test_same_seed_same_bytes_and_the_first_volume_stays_what_it_was():
    text = "".join(story.text for story in SAMPLE[:1000])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == THOUSAND
    assert stories(3, seed=7, volume=2) == SAMPLE[:3]
    assert stories(3, 7) == stories(3, 7, volume=1) != SAMPLE[:3]


def test_same_bytes_in_a_process_with_other_hashes():
    """test_pythons.py runs this file on every other Python found."""
    code = (
        "import hashlib\nfrom gptlib.corpus import stories\n"
        "text = ''.join(story.text for story in stories(1000, seed=7, volume=2))\n"
        "print(hash('a'), hashlib.sha256(text.encode()).hexdigest()[:16])"
    )
    command, seen = [sys.executable, "-c", code], set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        run = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
        hashed, text = run.stdout.split()
        assert text == THOUSAND
        seen.add(hashed)
    assert len(seen) == 2  # the hashes were others


def test_no_compressor_writes_the_tales_shorter_than_the_floor():
    """Programs that know nothing of the grammar learn it from 2,000 tales, and not all of it."""
    few = SAMPLE[:2000]
    text = "".join(story.text + "\n" for story in few).encode()
    least = sum(story.nats for story in few) / math.log(2)
    best = min(8 * len(bz2.compress(text)), 8 * len(lzma.compress(text)))
    assert floor(few).bits_per_char == pytest.approx(least / len(text))
    assert least < best < 6 * least


def test_surprisals_add_up_and_the_window_floor_bounds(tokenizer):
    for story in FEW[:20]:
        assert sum(surprisals(story, tokenizer)) == pytest.approx(story.nats, abs=1e-9)
    low, high = window_floor(FEW, tokenizer, 512)
    assert low == floor(FEW, tokenizer).nats_per_token < high
    assert window_floor(FEW, tokenizer, 1024)[1] - low == pytest.approx((high - low) / 2)


# --- a second reader, who knows the sentences and no grammar


def test_tales_close_in_the_order_that_they_opened():
    for story in SAMPLE[:3000]:
        open_tales, depth = [], 0
        for met, child, closer in re.findall(
            r"met an? ([\w ]+), who began a tale|(\w+) began a tale|And there ([\w ]+) stopped",
            story.text,
        ):
            if closer:
                assert closer.removeprefix("the ") == open_tales.pop(), story.text
            else:
                open_tales.append(met or child)
                depth = max(depth, len(open_tales))
        assert not open_tales and 1 <= depth <= 3


def test_he_and_she_are_the_travellers_of_the_tales_and_no_child():
    """As data/README.md says: before the first tale and behind the last nobody is he or she."""
    told = 0
    for story in SAMPLE[:3000]:
        before, *_ = story.text.partition(" began a tale.")
        *_, after = re.split(r"And there [A-Z]\w+ stopped\.", story.text)
        assert not re.search(r"\b(s?he|his|hers?|him)\b", before + after, re.IGNORECASE), story.text
        told += len(re.findall(r"\bs?he\b", story.text, re.IGNORECASE))
    assert told > 6000


def test_what_is_looked_for_is_found_last_first():
    for story in SAMPLE[:3000]:
        sought = re.findall(r"who looked for ([\w ]+)\.", story.text)
        found = re.findall(r"(?:at last s?he|went on and) found ([\w ]+)\.", story.text)
        assert found == sought[::-1] and 1 <= len(found) <= 3


def test_every_sign_has_its_deed():
    calls = 0
    for story in SAMPLE[:3000]:
        pairs = re.findall(r"when ([\w ]+), you had to ([\w ]+)(?:,|\.)", story.text)
        assert len(pairs) == 2
        past = {row["do"]: row["text"] for row in tales.ROWS["deed"]}
        deeds = {sign: past[do] for sign, do in pairs}
        for sign, deed in re.findall(
            r"(?:Just then|All at once) ([\w ]+), so they ([^.]+)\.", story.text
        ):
            assert deeds[sign] == deed
            calls += 1
    assert calls > 3000


def test_the_sums_come_out():
    seen = 0
    for story in SAMPLE:
        for a, sign, b, c in re.findall(
            r"(\d+) (take away|and) (\d+) (?:leaves|make) (\d+)", story.text
        ):
            assert int(a) + (int(b) if sign == "and" else -int(b)) == int(c)
            assert 10 <= int(c) <= 99
            seen += 1
    assert seen > 1500


def test_the_guest_comes_and_goes_on_the_right_day():
    visit = re.compile(
        r"On (\w+) a letter came\. It said: in (\w+) days .* it was (\w+), as promised\."
        r".* stayed for (\w+) days and left on (\w+)\."
    )
    found = [visit.search(story.text).groups() for story in SAMPLE if story.plot == "visit"]
    for day, wait, arrival, stay, leaving in found:
        at = DAYS.index(day) + NUMBERS[wait]
        assert DAYS[at % 7] == arrival and DAYS[(at + NUMBERS[stay]) % 7] == leaving
    assert len(found) > 600


def test_lists_come_back_in_order_or_from_the_end_and_ways_mirrored():
    split = re.compile(r", | and ")
    orders = Counter()
    for story in SAMPLE:
        if story.plot == "packing":
            packed, how, out = re.search(
                r"packed an? \w+: ([^.]+)\..* unpacked the \w+ (in the same order|from the top):"
                r" ([^.]+)\.",
                story.text,
            ).groups()
            into = [re.sub(r"^an? ", "the ", item) for item in split.split(packed)]
            assert split.split(out) == (into if how == "in the same order" else into[::-1])
            orders[how, len(into)] += 1
        if story.plot == "walk":
            there, back = re.search(
                r"the way to [\w ]+: ([^.]+)\..* by the same way: ([^.]+)\.", story.text
            ).groups()
            turned = [
                {"left": "right", "right": "left"}[step.split()[0]] + step[step.index(" ") :]
                for step in split.split(there)
            ]
            assert split.split(back) == turned[::-1]
    assert len(orders) == 6  # three, four or five things, either way


def test_keys_lamps_and_doors():
    for story in SAMPLE:
        if story.plot == "key":
            beds, sleeper, looked = re.search(
                r" The (\w+ slept [^.]+)\. The key to [\w ]+ lay where the (\w+) slept\."
                r".* They looked ([\w' ]+), and there it was",
                story.text,
            ).groups()
            assert f"the {sleeper} slept {looked}" in re.split(", | and ", f"the {beds}")
        if story.plot == "lamps":
            code, lamp, read = re.search(
                r"spoke by lamps: ([^.]+)\..* Before dawn an? (\w+) lamp .* \"'([\w ]+)'\" read",
                story.text,
            ).groups()
            assert f"{lamp} for '{read}'" in re.split(", | and ", code)
        if story.plot == "doors":
            doors, *tried, last = re.search(
                r"four doors, of ([^.]+)\. The (\w+) one and the (\w+) one were locked\..*"
                r" they tried the (\w+) one\. Locked, too\. So it had to be the (\w+) one",
                story.text,
            ).groups()
            assert {*tried, last} == set(re.split(", | and ", doors)) and last not in tried


def test_who_is_missing_who_is_oldest_and_who_has_what():
    for story in SAMPLE:
        trio = re.match(r"(\w+), (\w+) and (\w+) were", story.text)
        assert bool(trio) == (story.plot in ("missing", "rank", "swaps"))
        if story.plot == "missing":
            early, late, last = re.search(
                r" (\w+) came early, and (\w+) came late\..* It was (\w+), who had", story.text
            ).groups()
            assert {early, late, last} == set(trio.groups())
        if story.plot == "rank":
            a, how, b, c, d = re.search(
                r"(\w+) was (older|younger) than (\w+), and (\w+) was \w+ than (\w+)\.", story.text
            ).groups()
            pairs = [(a, b), (c, d)] if how == "older" else [(b, a), (d, c)]
            eldest = ({x for x, _ in pairs} - {y for _, y in pairs}).pop()
            youngest = ({y for _, y in pairs} - {x for x, _ in pairs}).pop()
            first, second = re.search(
                r"The eldest, (\w+), cut .* the youngest, (\w+), took", story.text
            ).groups()
            assert (first, second) == (eldest, youngest)
        if story.plot == "swaps":
            has = dict(re.findall(r"(\w+) had an? (\w+ \w+)[,.]", story.text))
            for x, y in re.findall(r"(\w+) and (\w+) swapped", story.text):
                has[x], has[y] = has[y], has[x]
            end = re.search(r"So in the end ([^.]+)\.", story.text)[1]
            told = dict(re.findall(r"(\w+) (?:had )?the (\w+ \w+)", end))
            assert told == has and len(has) == 3


def test_places_and_colours_stay_with_their_owner():
    for story in SAMPLE[:4000]:
        if len(kept := re.findall(r"(\w+) kept an? (\w+ \w+) ([^,.]+)[,.]", story.text)) == 2:
            looked = re.findall(r"(\w+) looked ([^,.]+), where the (\w+ \w+) was", story.text)
            assert {(x, thing, place) for x, place, thing in looked} == set(kept)


# --- its labels


def test_what_a_label_needs_was_said_where_it_says():
    """Where a label repeats a word, the word stands there; and nobody says it in between."""
    repeats = {"quest", "place", "colour", "thing", "door", "signal", "key", "number"}
    for story in FEW:
        for label, said in zip(story.labels, story.said, strict=True):
            assert 0 <= said < label.start
            word = story.text[label.start : label.end]
            if label.skill in repeats:
                assert re.match(f"(an? )?{word}", story.text[said:]), label
                between = story.text[said + 5 : label.start]
                if label.skill in ("quest", "place", "signal"):
                    assert word not in between


def test_skills_that_are_said_in_a_sentence_point_to_it():
    begins = {
        "rank": r" \w+ was (older|younger)",
        "missing": r" \w+ came early",
        "owner": r" \w+ and \w+ swapped",
    }
    for story in FEW:
        for label, said in zip(story.labels, story.said, strict=True):
            if label.skill in begins:
                assert re.match(begins[label.skill], story.text[said:]), label


@pytest.mark.parametrize("skill", sorted(set(SKILLS) - {"wording"}))
def test_the_judge_names_the_skill_that_is_missing(skill):
    """At a labelled place, what another story says there: the judge names the skill."""
    found = [
        (story, label) for story in SAMPLE[:300] for label in story.labels if label.skill == skill
    ][:12]
    texts = {story.text[label.start : label.end] for story, label in found}
    named = 0
    for story, label in found:
        right = story.text[label.start : label.end]
        wrong = next((t for t in sorted(texts) if not right.startswith(t[:5])), None)
        if wrong is None:
            continue
        same = next(i for i, (a, b) in enumerate(zip(wrong, right, strict=False)) if a != b)
        spoilt = story.text[: label.start] + wrong + story.text[label.end :]
        (verdict,) = judge(spoilt, volume=2).verdicts
        assert not verdict.ok and verdict.position == label.start + same
        assert verdict.skill == skill and SKILLS[skill] in verdict.message
        named += 1
    assert named >= 5


def test_judge_inverts_the_generator_and_keeps_the_volumes_apart():
    text = "".join(story.text + END for story in FEW[:50])
    assert judge(text, volume=2).well_formed == 1
    assert judge(text).well_formed == 0
    assert judge(load("stories", n=20), volume=2).well_formed == 0
    assert judge(text, known=[FEW[0].text], volume=2).new == 49 / 50


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from([END, "Maya", " began", " a", "\x00", "é"])).map("".join),
    )
)
def test_judge_never_raises(text):
    result = judge(text, volume=2)
    assert result.well_formed == 0.0
    assert sum(result.broken.values()) == len(result.verdicts)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 59), st.integers(0, 1800), st.text(max_size=5), st.integers(0, 60))
def test_judge_never_raises_on_damaged_tales(i, at, insert, cut):
    text = FEW[i].text
    judge(text[:at] + insert + text[at + cut :], volume=2)


@pytest.mark.parametrize("thing", [None, 3, b"Mia", ["Mia"], "\ud800", "x" * 300_000, END * 1000])
def test_judge_never_raises_on_strange_things(thing):
    assert judge(thing, volume=2).well_formed == 0.0


@pytest.mark.parametrize("call", [stories, lambda n, volume: judge("x", volume=volume)])
@pytest.mark.parametrize("volume", [0, 3, "2", None, True + 1.5])
def test_a_volume_that_there_is_not(call, volume):
    with pytest.raises(ValueError, match=r"volume must be one of \[1, 2\]; got"):
        call(1, volume=volume)


def test_load_is_stories_and_end_marks():
    text = load("stories", n=3, seed=7, volume=2)
    assert text == "".join(story.text + END for story in SAMPLE[:3])


# --- scored by distance


class Oracle(torch.nn.Module):
    """Knows every story by heart, but for what lies more than `reach` tokens back."""

    def __init__(self, key, vocab_size, reach):
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.known = {tuple(row.tolist()): n for n, row in enumerate(key.idx)}
        self.answers = key.targets.clamp(min=0)
        for skill, places in key.places.items():
            for (n, first, _), back in zip(places, key.distances[skill], strict=True):
                if back > reach:
                    self.answers[n, first] = (self.answers[n, first] + 1) % vocab_size
        self.vocab_size = vocab_size

    def forward(self, idx):
        rows = [self.known[tuple(row.tolist())] for row in idx]
        return F.one_hot(self.answers[rows], self.vocab_size).float() * 20, None


def test_a_short_sighted_model_is_right_near_and_wrong_far(tokenizer):
    key = AnswerKey(FEW[:60], tokenizer)
    score = key.score(Oracle(key, tokenizer.vocab_size, reach=100))
    for skill in ("colour", "place", "rule", "teller"):
        near, far = score.by_distance(skill, [101])
        assert near[0] == 1 or near[1] == 0
        assert far[0] == 0 and far[1] > 0
        assert near[1] + far[1] == len(key.places[skill])
    assert math.isnan(score.by_distance("fact", [500])[1][0])
    all_right = key.score(Oracle(key, tokenizer.vocab_size, reach=10_000))
    assert set(all_right.skills.values()) == {1.0}


def test_the_sample_is_what_its_card_says():
    text = (ROOT / "data" / "tales.txt").read_text(encoding="utf-8")
    training, validation = text.split("# training\n")[1].split("# validation\n")
    for part, seed, n in ((training, 0, 40), (validation, 1, 10)):
        assert part.strip().split("\n\n") == [s.text for s in stories(n, seed, volume=2)]
