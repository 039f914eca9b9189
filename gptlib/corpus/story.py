"""Stories of known probability: the generator, what each story tests, and the floor.

Given, not built. The words and plots stand in `storybook`, how they are written in `grammar`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

from gptlib.corpus import storybook, tales
from gptlib.corpus.grammar import Derivation, Grammar
from gptlib.given.checks.numbers import is_whole
from gptlib.tokenizer import END_OF_TEXT

END = END_OF_TEXT
"""Stands after every story: the one special token of the course."""

GRAMMAR = Grammar(
    storybook.RULES, storybook.ROWS, storybook.COMPUTED, storybook.SKILLS, start="story"
)

SKILLS = {
    "name": "the hero keeps one name",
    "pronoun": "she and her go with a girl's name, he and his with a boy's",
    "colour": "a thing keeps its colour",
    "thing": "the thing that was lost or made is the thing that is found or given",
    "helper": "the animal that came in is the one that speaks",
    "number": "a number is told again as it was",
    "count": "what is left is what there was less what was given",
    "cause": "the effect fits its cause",
    "riddle": "the answer fits the riddle",
    "order": "what came first and what came next are told again in that order",
    "ending": "the ending takes up the beginning",
    "wording": "the words are those of the stories",
}
"""Each skill, and the rule that a story breaks where the skill is missing."""


TALE_SKILLS = {
    "rule": "the rule of the house is kept: each sign has its deed",
    "teller": "who began a tale ends it, the last one first",
    "traveller": "who goes on is who was on the way before the tale",
    "pronoun": "she goes with a queen, he with a king",
    "quest": "what is found is what was looked for, the last thing first",
    "colour": "a thing keeps its colour",
    "thing": "a thing is the same when it is named again",
    "place": "everybody looks where the thing was kept",
    "owner": "after the swaps, everybody has what was swapped last",
    "order": "a list is told again in its order",
    "backwards": "a list is told again from its end",
    "turn": "on the way back, left is right and right is left",
    "key": "the key lies where the one sleeps who was named",
    "number": "a number is told again as it was",
    "sum": "the sums come out",
    "day": "a weekday and some days make another weekday",
    "signal": "a lamp means what was agreed",
    "door": "the door that is left is the one that was not tried",
    "missing": "who comes last is who was not there",
    "rank": "older than older is oldest",
    "fact": "the bell of each town is made of one thing, told nowhere else",
    "ending": "the ending takes up the beginning",
    "wording": "the words are those of the stories",
}
"""The same for the second volume."""


class Volume(NamedTuple):
    """One book of stories: its grammar, and its skills with the rule behind each."""

    grammar: Grammar
    skills: Mapping[str, str]


VOLUMES = {
    1: Volume(GRAMMAR, SKILLS),
    2: Volume(
        Grammar(tales.RULES, tales.ROWS, tales.COMPUTED, tales.SKILLS, start="story"), TALE_SKILLS
    ),
}
"""The first volume, which the chapters of Part I are about, and the second, which is harder."""


class Label(NamedTuple):
    """A place, in characters, where the story leaves one possibility and a skill is needed."""

    skill: str
    start: int
    end: int


@dataclass(frozen=True)
class Story:
    """A story and its answer key.

    `nats`: minus the logarithm of its exact probability. `labels`: the places that test a
    skill, in order; `said`: for each of them, where what it needs was last said. `derivation`:
    every choice that wrote it. `volume`: the book it stands in.
    """

    text: str
    derivation: Derivation
    volume: int = 1

    @property
    def nats(self) -> float:
        return self.derivation.nats

    @property
    def plot(self) -> str:
        """The name of the plot, such as `lost`."""
        return plot_of(self.derivation)

    @property
    def labels(self) -> tuple[Label, ...]:
        sure = (c for c in self.derivation.copies if c.sure and c.skill != "wording")
        return tuple(Label(c.skill, c.start, c.end) for c in sure)

    @property
    def said(self) -> tuple[int, ...]:
        """For each label, the character where what it needs was last said."""
        copies = self.derivation.copies
        said = VOLUMES[self.volume].grammar.said(self.derivation)
        pairs = zip(copies, said, strict=True)
        return tuple(at for c, at in pairs if c.sure and c.skill != "wording")


class Tokenizer(Protocol):
    """What `floor` needs of a tokenizer: those of chapter 1 have it, tiktoken's too."""

    def encode(self, text: str, /) -> list[int]: ...

    def decode(self, ids: list[int], /) -> str: ...


def plot_of(derivation: Derivation) -> str:
    """The name of the plot that a derivation begins with."""
    return derivation.choices[0].taken.split("<")[-1].rstrip(">")


def stories(n: int, seed: int = 0, volume: int = 1) -> list[Story]:
    """`n` stories of a volume; the same seed gives the same bytes on every machine and Python.

    Two seeds are two different texts: train on one, measure on another. A longer list begins
    with the shorter one of the same seed. Errors: ValueError for a negative `n` or `seed`, and for
    a `volume` that is not in `VOLUMES`.

    stories(1, seed=1)[0].plot -> "basket"
    """
    for name, value in (("n", n), ("seed", seed)):
        if not is_whole(value) or value < 0:
            raise ValueError(f"{name} must be a whole number, 0 or more; got {value!r}.")
    grammar, rng = volume_of(volume).grammar, Random(int(seed))
    return [Story(*grammar.write(rng), int(volume)) for _ in range(n)]


def volume_of(volume: int) -> Volume:
    """A volume by its number. Errors: ValueError where there is none of that number."""
    if not is_whole(volume) or volume not in VOLUMES:
        raise ValueError(f"volume must be one of {list(VOLUMES)}; got {volume!r}.")
    return VOLUMES[volume]


@dataclass(frozen=True)
class Floor:
    """The lowest loss that any model can reach on a text, in its several units.

    A story ends with the mark `END`, which counts as one character and one token: a model has to
    say when it is done. Per token only where a tokenizer was given.
    """

    nats_per_story: float
    nats_per_char: float
    nats_per_token: float | None = None

    @property
    def bits_per_char(self) -> float:
        return self.nats_per_char / math.log(2)

    @property
    def bits_per_token(self) -> float | None:
        return None if self.nats_per_token is None else self.nats_per_token / math.log(2)


def floor(texts: Sequence[Story], tokenizer: Tokenizer | None = None) -> Floor:
    """What these stories cost a reader who knows the grammar: no model can do better on average.

    It is the mean of minus the log-probability, over just these stories, so a model's loss on the
    same stories compares with it free of sampling noise. The expectation over all stories is
    `grammar.entropy()` of their volume. Errors: ValueError for no stories.
    """
    if not texts:
        raise ValueError("texts must hold at least one story; got none.")
    nats = sum(story.nats for story in texts)
    chars = sum(len(story.text) + 1 for story in texts)
    tokens = sum(len(tokenizer.encode(s.text)) + 1 for s in texts) if tokenizer else None
    return Floor(nats / len(texts), nats / chars, nats / tokens if tokens else None)


def surprisals(story: Story, tokenizer: Tokenizer) -> list[float]:
    """What each token of a story costs a reader who knows the grammar, in nats; `END` last.

    They add up to `story.nats`. A token costs the drop in probability from the prefix before it
    to the prefix that ends with it. (A tokenizer that looks ahead, as BPE does within a word, moves
    a little of that cost between neighbouring tokens; the sum stays exact.)
    """
    prices = VOLUMES[story.volume].grammar.read(story.text)[2]
    at, costs = 0, []
    for i in tokenizer.encode(story.text):
        end = at + len(tokenizer.decode([i]))
        costs.append(prices[end] - prices[at])
        at = end
    return [*costs, story.nats - prices[at]]


def window_floor(
    texts: Sequence[Story], tokenizer: Tokenizer, context_length: int
) -> tuple[float, float]:
    """Bounds, in nats per token, on the best loss over windows that start anywhere in the text.

    A window of T tokens that begins in the middle of a story hides what came before it. The best
    model then loses T · floor plus the information I that the hidden part has about the window,
    and 0 <= I <= H(state): all that the rest of a story needs from its past is a state, namely the
    place in the plot and the values that will be used again. The entropy of the place is counted
    over every token of `texts`; a value costs the logarithm of its number of options.
    Hence floor <= best <= floor + H(state) / T. Windows that begin with a story need no state: the
    floor itself is their bound.
    """
    if context_length < 1:
        raise ValueError(f"context_length must be 1 or more; got {context_length!r}.")
    places: Counter = Counter()
    values = 0.0
    for story in texts:
        states, at = VOLUMES[story.volume].grammar.states(story.derivation), 0
        for i in tokenizer.encode(story.text):
            place, cost = states[at]
            places[place] += 1
            values += cost
            at += len(tokenizer.decode([i]))
        places[END] += 1  # a window may begin with the mark, too; nothing is to be known there
    n = places.total()
    of_place = sum(k / n * math.log(n / k) for k in places.values())
    low = floor(texts, tokenizer).nats_per_token
    assert low is not None  # a tokenizer was given
    return low, low + (of_place + values / n) / context_length
