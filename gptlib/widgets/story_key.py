"""The stories' answer key for a page: the grammar as data, and the exam that a page sets a model.

Given, not built. `grammar.js` reads and writes stories by these data, `exam.js` chooses its stories
by the rule of `exam_stories`; so the page has no words or rules of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from random import Random
from typing import Any

from gptlib.corpus.grammar import Copy, Fork, Grammar, Memory, Pick, Row
from gptlib.corpus.story import END, GRAMMAR, SKILLS, Story

EXAM = {"seed": 1, "places": 100}
"""The seed of the exam's stories, and how many places of each skill they have at least."""


def answer_key() -> dict[str, Any]:
    """All that a page needs to know of the stories, ready for JSON.

    `as_data(GRAMMAR)`, and with it `end`, the mark between stories; `rules`, the rule behind each
    skill in words; `exam`, how its stories are chosen.
    """
    return {**as_data(GRAMMAR), "end": END, "rules": SKILLS, "exam": EXAM}


def as_data(grammar: Grammar) -> dict[str, Any]:
    """A grammar as lists, texts and numbers.

    `rows`: every row there is, a text where the row has no other column. `tables`: the numbers of
    the rows of each. `forks`: the alternatives of each fork, the one that a story begins with last;
    a node of theirs is a text, the number of a fork, or a pick or copy with its fields. `computed`:
    by slot the slots it needs, `of`, and what follows, `rows`, by the numbers of their rows,
    separated by spaces. Errors: ValueError for a table that is a function.

    as_data(Grammar({"s": ["a[b|c]"]}, {}, {}, {}, "s"))["forks"] -> [[['b'], ['c']], [['a', 0]]]
    """
    numbers: dict[int, int] = {}  # id of a row -> its number; tables may share rows
    rows: list[Row] = []
    tables: dict[str, Sequence[Row]] = {}
    for name, table in grammar.tables.items():
        if callable(table):
            raise ValueError(f"table {name!r} is a function; a page can only have a list of rows.")
        tables[name] = table
        for row in table:
            if numbers.setdefault(id(row), len(rows)) == len(rows):
                rows.append(row)

    forks: list[list] = []
    places: dict[int, int] = {}  # id of a fork -> its number
    picks: dict[str, Pick] = {}

    def node_of(node: str | Fork | Pick | Copy) -> Any:
        if isinstance(node, str):
            return node
        if not isinstance(node, Fork):
            if isinstance(node, Pick):
                picks[node.slot] = node
            return {name: value for name, value in node._asdict().items() if value}
        if id(node) not in places:
            options = [[node_of(part) for part in option] for option in node.options]
            places[id(node)] = len(forks)
            forks.append(options)
        return places[id(node)]

    node_of(grammar.start)

    def following(needs: tuple[str, ...], compute: Callable[[Memory], Row]) -> dict[str, int]:
        """What follows from each choice of the needed rows that a story can make."""
        found = {}
        for chosen in product(*(tables[picks[slot].table] for slot in needs)):
            memory = dict(zip(needs, chosen, strict=True))
            if all(_is_below(memory, picks[slot], tables) for slot in needs):
                key = " ".join(str(numbers[id(row)]) for row in chosen)
                found[key] = numbers[id(compute(memory))]
        return found

    return {
        "rows": [row["text"] if set(row) == {"text"} else row for row in rows],
        "tables": {name: [numbers[id(r)] for r in table] for name, table in tables.items()},
        "forks": forks,
        "computed": {
            slot: {"of": needs, "rows": following(needs, compute)}
            for slot, (needs, compute) in grammar.computed.items()
        },
    }


def _is_below(memory: Memory, pick: Pick, tables: Mapping[str, Sequence[Row]]) -> bool:
    """Whether a story can hold this memory: what `pick` took may have to stand above a row."""
    rows = [id(row) for row in tables[pick.table]]
    return not pick.below or rows.index(id(memory[pick.slot])) < rows.index(id(memory[pick.below]))


def exam_stories(seed: int = EXAM["seed"], places: int = EXAM["places"]) -> list[Story]:
    """The stories of an exam: of a seed's stories, in order, those that are needed.

    A story is taken where it tests a skill that still has fewer than `places` places. Then, from
    the last to the first, those go that later ones have made needless.

    len(exam_stories(places=2)) -> 6
    """
    rng, counts, taken = Random(seed), Counter[str](), []
    skills = set(SKILLS) - {"wording"}

    def short(tested: Counter[str]) -> bool:
        return any(counts[skill] < places for skill in tested)

    while any(counts[skill] < places for skill in skills):
        story = Story(*GRAMMAR.write(rng))
        tested = Counter(label.skill for label in story.labels)
        if short(tested):
            taken.append((story, tested))
            counts += tested
    needed = []
    for story, tested in reversed(taken):
        counts -= tested
        if short(tested):
            counts += tested
            needed.append(story)
    return needed[::-1]
