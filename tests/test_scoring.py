"""Scoring: a model that knows the answers, one that knows nothing, and one with a known fault."""

import math

import pytest
import torch
from torch import nn

from gptlib.batches import get_batch
from gptlib.corpus import END, floor, stories
from gptlib.corpus.scoring import AnswerKey, Score, end_id, story_starts
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer, CharTokenizer

STORIES = stories(40, seed=3)
TOKENIZER = BPETokenizer.train("".join(s.text for s in STORIES), 500, special_tokens=[END])
KEY = AnswerKey(STORIES, TOKENIZER)


class Oracle(nn.Module):
    """Knows the key by heart and answers with certainty, but for the tokens in `wrong`."""

    def __init__(self, key, wrong=()):
        super().__init__()
        self.size = nn.Parameter(torch.tensor(30.0))
        self.key, self.wrong, self.row = key, set(wrong), 0

    def forward(self, idx, targets=None):
        n = len(idx)
        right = self.key.targets[self.row : self.row + n].clamp(min=0)  # (B, T)
        said = right.clone()
        for row, t in self.wrong:
            if self.row <= row < self.row + n:
                said[row - self.row, t] = (right[row - self.row, t] + 1) % TOKENIZER.vocab_size
        self.row = (self.row + n) % len(self.key.idx)
        return self.size * nn.functional.one_hot(said, TOKENIZER.vocab_size).float(), None


class Nothing(nn.Module):
    """Every token equally likely."""

    def __init__(self):
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, idx, targets=None):
        return self.zero + torch.zeros(*idx.shape, TOKENIZER.vocab_size), None


def test_rows_are_end_story_end():
    for row, targets, story in zip(KEY.idx, KEY.targets, STORIES, strict=True):
        length = int((targets >= 0).sum())
        assert row[0] == end_id(TOKENIZER) == targets[length - 1]
        assert torch.equal(row[1:length], targets[: length - 1])
        assert TOKENIZER.decode(targets[: length - 1]) == story.text
        assert (targets[length:] == -1).all()


def test_places_hold_the_labelled_words():
    found = {skill: list(places) for skill, places in KEY.places.items()}
    for n, story in enumerate(STORIES):
        for label in story.labels:
            row, first, last = found[label.skill].pop(0)
            assert row == n
            text = TOKENIZER.decode(KEY.targets[n, first:last])
            # a token may carry the space before the word, or a quotation mark
            assert story.text[label.start : label.end] in text
            assert len(text) <= label.end - label.start + 3


def test_a_model_that_knows_the_answers():
    score = KEY.score(Oracle(KEY), batch_size=7)
    assert score.loss == pytest.approx(0, abs=1e-6)
    assert set(score.skills.values()) == {1.0}
    assert score.floor == pytest.approx(floor(STORIES, TOKENIZER).nats_per_token)
    assert score.above_floor == pytest.approx(-1)


def test_a_model_that_knows_nothing_has_ln_v():
    assert KEY.score(Nothing()).loss == pytest.approx(math.log(TOKENIZER.vocab_size))


def test_one_wrong_token_costs_the_labels_that_hold_it():
    row, _, last = KEY.places["colour"][0]
    score = KEY.score(Oracle(KEY, wrong=[(row, last - 1)]))
    n = len(KEY.places["colour"])
    assert score.skills["colour"] == pytest.approx((n - 1) / n)
    others = {skill: share for skill, share in score.skills.items() if skill != "colour"}
    touched = [
        skill
        for skill, places in KEY.places.items()
        if skill != "colour" and any(r == row and a < last <= b for r, a, b in places)
    ]
    assert all(share == 1.0 for skill, share in others.items() if skill not in touched)


def test_the_mode_is_put_back():
    for mode in (True, False):
        model = Nothing().train(mode)
        KEY.score(model)
        assert model.training is mode


def test_a_model_that_is_too_small_for_the_stories_is_refused_before_it_is_asked():
    for name, size, words in (
        ("vocab_size", 300, r"AnswerKey holds the token id \d+; allowed are 0 to 299"),
        ("context_length", 20, rf"whole, {KEY.idx.size(1)} tokens; its context_length is 20"),
    ):
        model = Oracle(KEY)
        setattr(model, name, size)
        with pytest.raises(ValueError, match=words):
            KEY.score(model)
        assert model.row == 0 and model.training
    with pytest.raises(ValueError, match="batch_size must be a whole number, 1 or more; got 0"):
        KEY.score(Nothing(), batch_size=0)
    model = Nothing()
    model.vocab_size, model.context_length = TOKENIZER.vocab_size, KEY.idx.size(1)
    assert KEY.score(model).loss == pytest.approx(math.log(TOKENIZER.vocab_size))


def test_windows_begin_at_end_marks():
    ids = torch.tensor(
        TOKENIZER.encode(END + "".join(s.text + END for s in STORIES), allowed_special="all")
    )
    starts = story_starts(ids, TOKENIZER, 50)
    assert len(starts) in (39, 40)
    x, _ = get_batch(ids, 64, 50, starts=starts, generator=torch.Generator().manual_seed(0))
    assert (x[:, 0] == end_id(TOKENIZER)).all()


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 100])
def test_the_marks_are_found_piece_by_piece_wherever_the_pieces_end(monkeypatch, piece):
    """In a row as a memory map has it, of 16 or 32 bits, as in one of 64."""
    end, generator = end_id(TOKENIZER), torch.Generator().manual_seed(piece)
    ids = torch.randint(3, (57,), generator=generator)
    ids[[0, 3, 6, 7, 50, 55]] = end
    wanted = [i for i in (0, 3, 6, 7, 50, 55) if i < 57 - 4]
    monkeypatch.setattr("gptlib.corpus.scoring.PIECE", piece)
    for row in (ids, ids.to(torch.uint16), ids.to(torch.uint32), ids.numpy().astype("uint16")):
        assert story_starts(row, TOKENIZER, 4).tolist() == wanted


def test_windows_that_do_not_fit_are_left_out_and_their_lack_is_said():
    end = end_id(TOKENIZER)
    ids = torch.tensor([end, 1, 2, end, 3, 4, end])
    assert story_starts(ids, TOKENIZER, 2).tolist() == [0, 3]
    assert story_starts(ids.tolist(), TOKENIZER, 3).tolist() == [0, 3]
    assert story_starts(ids, TOKENIZER, 4).tolist() == [0]
    for bad, length, words in (
        (ids, 7, r"data has length 7, shorter than context_length \+ 1 = 8"),
        (ids[1:], 5, "starts has no position from 0 to 0.*a context_length of at most 3"),
        (ids[1:3], 1, "ids must hold the mark '<.endoftext.>' that ends a story"),
        (ids.float(), 1, "ids must be one row of whole numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            story_starts(bad, TOKENIZER, length)


def test_end_is_the_tokenizer_s_own_mark():
    assert END is END_OF_TEXT


def test_a_tokenizer_without_the_end_mark_is_refused():
    with pytest.raises(ValueError, match="special_tokens"):
        AnswerKey(STORIES, CharTokenizer("abc"))


def test_rows_are_as_long_as_the_longest_story_and_its_end():
    longest = max(len(TOKENIZER.encode(story.text)) for story in STORIES)
    assert KEY.idx.shape == KEY.targets.shape == (len(STORIES), longest + 1)


def test_a_mark_says_how_far_above_the_floor_and_stays_as_it_was_given():
    mark = Score(loss=0.42, floor=0.4, skills={})
    assert mark.above_floor == pytest.approx(0.05)
    with pytest.raises(AttributeError):
        mark.loss = 0.4


def test_places_hold_no_token_more_than_the_labelled_words_need():
    found, quoted = {skill: list(places) for skill, places in KEY.places.items()}, 0
    for n, story in enumerate(STORIES):
        for label in story.labels:
            _, first, last = found[label.skill].pop(0)
            word = story.text[label.start : label.end]
            assert word in TOKENIZER.decode(KEY.targets[n, first:last])
            assert word not in TOKENIZER.decode(KEY.targets[n, first + 1 : last])
            assert word not in TOKENIZER.decode(KEY.targets[n, first : last - 1])
            # Whether the word begins with its token, as after a quotation mark.
            quoted += len(TOKENIZER.decode(KEY.targets[n, :first])) == label.start
    assert not any(found.values()) and quoted > 5


def test_a_model_is_scored_in_evaluation_mode_and_without_gradients():
    class Noticing(Nothing):
        seen: frozenset[bool] = frozenset()

        def forward(self, idx, targets=None):
            self.seen |= {self.training, torch.is_grad_enabled()}
            return super().forward(idx, targets)

    model = Noticing().train()
    KEY.score(model, batch_size=7)
    assert model.seen == {False} and model.training
