"""Byte-pair merges against a naive trainer, the plain way to apply them, and HF tokenizers."""

import heapq
import json
import math
import random
from collections import Counter
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

import gptlib.merges
from gptlib import corpus
from gptlib.merges import (
    PairIndex,
    Row,
    apply_merges,
    count_pairs,
    merge_pair,
    most_frequent,
    train_merges,
)
from gptlib.tokenizer import BPETokenizer, split_words


@pytest.fixture(scope="module")
def shakespeare(shared_data):
    return (shared_data / "tinyshakespeare.txt").read_text(encoding="utf-8")


def test_worked_values_of_the_docstrings():
    assert count_pairs([5, 6, 9, 5, 6]) == {(5, 6): 2, (6, 9): 1, (9, 5): 1}
    assert count_pairs([7, 7, 7]) == {(7, 7): 2}
    assert most_frequent({(98, 97): 3, (97, 98): 3, (1, 1): 2}) == (97, 98)
    assert merge_pair([5, 6, 9, 5, 6], (5, 6), 256) == [256, 9, 256]
    assert merge_pair([5, 5, 5], (5, 5), 256) == [256, 5]
    assert Row([5, 6, 9]).pair(0) == (5, 6)
    assert PairIndex({"aab": 2, "ab": 1}).counts == {(97, 97): 2, (97, 98): 3}
    assert train_merges({"aab": 2, "ab": 1}, 2) == {(97, 98): 256, (97, 256): 257}
    assert apply_merges([97, 97, 98], {(97, 98): 256, (97, 256): 257}) == [257]


# --- Learning -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(8))
def test_a_run_of_one_token_merges_from_left_to_right(n):
    assert merge_pair([1] * n, (1, 1), 2) == [2] * (n // 2) + [1] * (n % 2)


def test_from_the_right_the_odd_one_stands_in_front():
    assert merge_pair([5, 5, 5][::-1], (5, 5), 256)[::-1] == [5, 256]


@given(st.lists(st.integers(0, 3), max_size=30))
def test_merging_a_pair_leaves_none_of_it_and_can_be_undone(ids):
    merged = merge_pair(ids, (1, 2), 9)
    assert (1, 2) not in count_pairs(merged)
    assert [i for m in merged for i in ((1, 2) if m == 9 else (m,))] == ids


def naive_merges(text, n_merges):
    """An independent trainer: counts all pairs of the whole text again for each merge."""
    words = [[bytes([b]) for b in word.encode()] for word in split_words(text)]
    id_of = {bytes([b]): b for b in range(256)}
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for word in words:
            for k in range(len(word) - 1):
                counts[word[k], word[k + 1]] += 1
        if not counts:
            break
        ranked = sorted(counts, key=lambda p: (-counts[p], id_of[p[0]], id_of[p[1]]))
        left, right = ranked[0]
        merges.append((id_of[left], id_of[right]))
        id_of[left + right] = 255 + len(merges)
        for word in words:
            k = 0
            while k < len(word) - 1:
                if word[k] == left and word[k + 1] == right:
                    word[k : k + 2] = [left + right]
                k += 1
    return merges


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        st.text("ab", max_size=80),
        st.text("aaab ", max_size=80),
        st.text("abc \n1!", max_size=120),
        st.text("aé東😀 ", max_size=40),
    ),
    st.integers(0, 30),
)
def test_merges_equal_those_of_a_naive_trainer(text, n_merges):
    expected = naive_merges(text, n_merges)
    merges = train_merges(Counter(split_words(text)), n_merges)
    assert list(merges) == expected
    assert list(merges.values()) == list(range(256, 256 + len(expected)))


def test_runs_merge_from_left_to_right_wherever_they_stand():
    """Where pairs overlap, the order of the places counts: at 8 as well as at 7."""
    for before in range(34):
        for length in (5, 6, 7, 11, 13):
            word = "".join(chr(98 + i % 20) for i in range(before)) + "a" * length
            expected = naive_merges(word, 6)
            assert list(train_merges({word: 1}, len(expected))) == expected


def test_a_merge_takes_the_smallest_bytes_as_any_other():
    assert train_merges({"\x00\x01\x00\x01": 1}, 2) == {(0, 1): 256, (256, 256): 257}
    assert apply_merges([0, 1, 0, 1], {(0, 1): 256, (256, 256): 257}) == [257]


def test_merges_on_real_text_equal_those_of_a_naive_trainer(shakespeare):
    text = shakespeare[:8_000]
    assert list(BPETokenizer.train(text, 256 + 60).merges) == naive_merges(text, 60)


def test_merges_equal_those_of_hf_tokenizers(shakespeare):
    """Its rule for ties is ours where its order of bytes is ours: in visible ASCII."""
    text = shakespeare[:300_000].replace(" ", "-").replace("\n", "|")
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + 300, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator([text], trainer)
    ours = BPETokenizer.train(text, 256 + 300)
    expected = [tuple(merge) for merge in json.loads(theirs.to_str())["model"]["merges"]]
    vocab = [token.decode() if max(token) < 128 else "" for token in ours.vocab]
    assert [(vocab[left], vocab[right]) for left, right in ours.merges] == expected


@pytest.mark.parametrize("text", ["ba ab", "ab ba", "zz yy xx", "abab", "aaaa"])
def test_ties_go_to_the_smallest_pair_whatever_the_order_of_the_text(text):
    pairs = {pair for word in split_words(text) for pair in count_pairs(word.encode())}
    assert next(iter(BPETokenizer.train(text, 257).merges)) == min(pairs)


def hf_merges(text, n_merges):
    """What HF tokenizers learns, byte-level as GPT-2, as pairs of its tokens."""
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + n_merges, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator([text], trainer)
    return [tuple(merge) for merge in json.loads(theirs.to_str())["model"]["merges"]]


def test_who_breaks_a_tie_how():
    """Three rules, two tokenizers: the space comes before the letters for us, after them for HF."""
    text = "xa b"  # two pairs, each once: "xa" and " b"
    assert list(BPETokenizer.train(text, 257).merges) == [tuple(b" b")]
    assert hf_merges(text, 1) == [("x", "a")]
    counts = Counter(pair for word in split_words(text) for pair in pairwise(word.encode()))
    assert max(counts, key=counts.get) == tuple(b"xa")  # minbpe's rule: the one met first
    assert list(BPETokenizer.train("xa-b", 257).merges) == [tuple(b"xa")]
    assert hf_merges("xa -b", 1) == [("x", "a")]


class Counting(dict):
    """Merges that count how often somebody looks into them."""

    looked = 0

    def get(self, pair, default=None):
        self.looked += 1
        return super().get(pair, default)

    def __contains__(self, pair):
        self.looked += 1
        return super().__contains__(pair)

    def __getitem__(self, pair):
        self.looked += 1
        return super().__getitem__(pair)


def letters(n, seed=0):
    return "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz", k=n))


@pytest.fixture(scope="module")
def word_counts():
    return Counter(split_words(corpus.load("stories", n=300).replace(corpus.END, "")))


def test_the_heap_spares_the_look_at_every_pair(word_counts, monkeypatch):
    handed_out, pop = [], heapq.heappop
    monkeypatch.setattr(gptlib.merges.heapq, "heappop", lambda h: handed_out.append(1) or pop(h))
    index, pairs = PairIndex(word_counts), 0
    for new_id in range(256, 756):
        pairs += len(index.counts)
        index.merge(index.most_frequent(), new_id)
    assert 500 <= len(handed_out) < 2_500 < pairs / 50


def test_learning_from_a_long_word_is_not_quadratic(monkeypatch):
    class CountingRow(Row):
        steps = 0

        def pair(self, i):
            CountingRow.steps += 1
            return super().pair(i)

    monkeypatch.setattr(gptlib.merges, "Row", CountingRow)
    steps = []
    for n in (1_000, 8_000):
        CountingRow.steps = 0
        assert len(train_merges({letters(n): 1}, n // 5)) == n // 5
        steps.append(CountingRow.steps)
    assert steps[1] < 2 * 8 * steps[0]  # the square would be 64 times as many


# --- Applying -----------------------------------------------------------------------------------


def apply_slowly(ids, merges):
    """The plain way, as chapter 1 shows it first: look at every pair again after each merge."""
    while len(ids) > 1:
        pair = min(pairwise(ids), key=lambda pair: merges.get(pair, math.inf))
        if pair not in merges:
            break
        ids = merge_pair(ids, pair, merges[pair])
    return list(ids)


@st.composite
def any_merges(draw):
    """Merges that no text need have taught: each joins two ids known before."""
    merges = {}
    for _ in range(draw(st.integers(0, 12))):
        known = st.sampled_from([97, 98, 99, *merges.values()])
        merges.setdefault((draw(known), draw(known)), 256 + len(merges))
    return merges


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(97, 99), max_size=30), any_merges())
def test_merges_are_applied_as_the_plain_way_does(ids, merges):
    assert apply_merges(ids, merges) == apply_slowly(ids, merges)


def test_a_word_of_the_training_text_is_cut_as_training_left_it(word_counts):
    merges = train_merges(word_counts, 500)
    latest_first = {pair: -new_id for pair, new_id in merges.items()}
    otherwise = 0
    for word in word_counts:
        left = list(word.encode())
        for pair, new_id in merges.items():
            left = merge_pair(left, pair, new_id) if len(left) > 1 else left
        assert apply_merges(word.encode(), merges) == left
        otherwise += len(apply_slowly(word.encode(), latest_first)) != len(left)
    assert otherwise > 50  # in another order many are cut otherwise


def test_applying_to_a_long_word_is_not_quadratic():
    merges = train_merges(Counter(split_words(letters(20_000, seed=1))), 1_000)
    looked = []
    for n in (2_000, 16_000):
        counting = Counting(merges)
        assert len(apply_merges(letters(n).encode(), counting)) < 0.6 * n
        looked.append(counting.looked)
    assert looked[1] < 1.25 * 8 * looked[0]  # the square would be 64 times as many
