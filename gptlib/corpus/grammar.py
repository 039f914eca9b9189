"""A small story grammar that writes, reads back and prices its own sentences.

Given, not built: the chapters use it through `gptlib.corpus`. A grammar is a set of *rules*
(alternative wordings) and *tables* (words with their forms). Every choice is uniform, so the
probability of a story is the product of `1 / number of options` over the choices that wrote it,
and its information content, in nats, is the sum of `ln(number of options)`.

The notation of a rule:

    plain text            itself
    [red|blue]            one of the alternatives, which may hold any of these forms again
    <rule>                one of the wordings of that rule
    {=colour}             one row of the table `colour`
    {hat=colour}          the same, remembered under the name `hat`
    {hat.a=colour}        the same, written in its form `a` ("an orange")
    {c=colour-hat}        any row but the one that `hat` holds
    {few=number<many}     any row that stands above the row of `many` in its table
    {hat} {hat.a}         what was remembered, again
    {hat~}                the same, labelled: here nothing else may stand
    {hat~order}           the same, and the skill it takes is `order`
    {@order}              no text: what a reader needs for `order` has been said here
"""

import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

Row = dict[str, str]
Memory = dict[str, Row]

TOKENS = re.compile(r"[\[\]|]|<\w+>|\{[^}]*\}|[^\[\]|<{]+")
SLOT = re.compile(r"(\w*)(?:\.(\w+))?(?:=(\w+)((?:-\w+)*)(?:<(\w+))?)?(~\w*)?")


class Choice(NamedTuple):
    """One step of a derivation: the choice, what was taken, and its number among `options`."""

    name: str
    taken: str
    index: int  # type: ignore[assignment] # a tuple's own method of that name is not needed
    options: int


class Copied(NamedTuple):
    """A place where a remembered word returns; `sure`: nothing else may stand there."""

    slot: str
    skill: str
    start: int
    end: int
    sure: bool


@dataclass(frozen=True)
class Derivation:
    """How the grammar writes a text: its choices, what they cost together, and what returns."""

    choices: tuple[Choice, ...]
    copies: tuple[Copied, ...]
    nats: float


@dataclass(frozen=True)
class Failure:
    """Where reading stopped: the furthest character, what was expected, the skill missed."""

    position: int
    expected: tuple[str, ...]
    skill: str


class Fork(NamedTuple):
    """Alternative wordings: of a rule, or between brackets."""

    name: str
    options: tuple[tuple, ...]
    sources: tuple[str, ...]


class Pick(NamedTuple):
    """A row of a table, remembered under `slot`."""

    slot: str
    form: str
    table: str
    without: tuple[str, ...]
    below: str


class Copy(NamedTuple):
    """What `slot` holds, again."""

    slot: str
    form: str
    skill: str
    sure: bool


def form_of(row: Row, form: str) -> str:
    """The form of a row: a column, `a` (with its article), or either with a capital.

    form_of({"text": "orange"}, "a") -> "an orange"
    form_of({"text": "orange"}, "Text") -> "Orange"
    """
    if form in row:
        return row[form]
    if form == "a":
        return ("an " if row["text"][0] in "aeiou" else "a ") + row["text"]
    if form[0].isupper():
        lower = form_of(row, form[0].lower() + form[1:])
        return lower[0].upper() + lower[1:]
    raise ValueError(f"the row {row['text']!r} has no form {form!r}: its forms are {sorted(row)}")


class Grammar:
    """Rules and tables that write stories with `write` and read them back with `read`.

    `rules`: the wordings by name. `tables`: by name the rows, or a function of the memory that
    returns rows. `computed`: by name (slots it needs, function of the memory that returns a row),
    for what follows from what was said ("five" less "two"). `skills`: by slot, or by `slot.form`,
    the skill that a reader needs there.

    Grammar({"s": ["<t>."], "t": ["hm"]}, {}, {}, {}, "s").write(Random(0))[0] -> "hm."
    """

    def __init__(
        self,
        rules: Mapping[str, Sequence[str]],
        tables: Mapping[str, Sequence[Row] | Callable[[Memory], Sequence[Row]]],
        computed: Mapping[str, tuple[tuple[str, ...], Callable[[Memory], Row]]],
        skills: Mapping[str, str],
        start: str,
    ) -> None:
        self.rules, self.tables, self.computed, self.skills = rules, tables, computed, skills
        self._compiled: dict[str, Fork] = {}
        self._given: dict[str, set[str]] = {}  # by slot: those that its options depend on
        self._formed: dict[tuple[str, str], list[tuple[str, Row | None]]] = {}
        self.start = self._rule(start)

    def _rule(self, name: str) -> Fork:
        if name not in self._compiled:
            options = tuple(self._sequence(name, wording) for wording in self.rules[name])
            self._compiled[name] = self._fork(name, options, self.rules[name])
        return self._compiled[name]

    def _fork(self, name: str, options: Sequence, sources: Sequence[str]) -> Fork:
        if len(set(sources)) != len(sources):
            raise ValueError(f"rule {name!r} lists an alternative twice: a text had two readings")
        return Fork(name, tuple(tuple(option) for option in options), tuple(sources))

    def _sequence(self, rule: str, wording: str) -> list:
        """One wording as a list of nodes; a stack holds the open brackets."""
        stack: list[tuple[list[list], list[str]]] = [([[]], [""])]
        for token in _tokens(rule, wording):
            options, sources = stack[-1]
            if token == "[":
                stack.append(([[]], [""]))
            elif token == "|":
                options.append([])
                sources.append("")
            elif token == "]":
                stack.pop()
                stack[-1][0][-1].append(self._fork(rule, options, sources))
                stack[-1][1][-1] += f"[{'|'.join(sources)}]"
            else:
                options[-1].append(self._node(token))
                sources[-1] += token
        [([nodes], _)] = stack
        return nodes

    def _node(self, token: str) -> str | Fork | Pick | Copy:
        if token[0] == "<":
            return self._rule(token[1:-1])
        if token[0] != "{":
            return token
        if token[1] == "@":
            return Copy(token[1:-1], "text", token[2:-1], False)
        match = SLOT.fullmatch(token[1:-1])
        if match is None:
            raise ValueError(f"cannot read the slot {token!r}")
        slot, form, table, without, below, mark = match.groups(default="")
        form = form or "text"
        if table:
            pick = Pick(slot or f"={table}", form, table, tuple(without.split("-")[1:]), below)
            self._given.setdefault(pick.slot, set()).update(pick.without, {below} - {""})
            return pick
        skill = mark[1:] or self.skills.get(f"{slot}.{form}") or self.skills.get(slot, "wording")
        return Copy(slot, form, skill, bool(mark))

    def _candidates(self, node: str | Pick | Copy, memory: Memory) -> list[tuple[str, Row | None]]:
        """What may stand here: the text, and the row to remember with it."""
        if isinstance(node, str):
            return [(node, None)]
        if isinstance(node, Copy):
            if node.slot[0] == "@":
                return [("", None)]
            computed = node.slot in self.computed
            row = self.computed[node.slot][1](memory) if computed else memory[node.slot]
            return [(form_of(row, node.form), None)]
        formed = self._in_form(node.table, node.form, memory)
        if node.below:
            formed = formed[: next(i for i, (_, r) in enumerate(formed) if r is memory[node.below])]
        if not node.without:
            return formed
        taken = [id(memory[slot]) for slot in node.without]
        return [(text, row) for text, row in formed if id(row) not in taken]

    def _in_form(self, table: str, form: str, memory: Memory) -> list[tuple[str, Row | None]]:
        """The rows of a table, each with its text in a form; made once where nothing changes it."""
        rows = self.tables[table]
        if callable(rows):
            return [(form_of(row, form), row) for row in rows(memory)]
        if (table, form) not in self._formed:
            self._formed[table, form] = [(form_of(row, form), row) for row in rows]
        return self._formed[table, form]

    def write(self, rng: Random) -> tuple[str, Derivation]:
        """A story and its derivation. Draws only `rng.random()`: the same on every Python."""
        return self._follow(lambda options: int(rng.random() * options))

    def _follow(self, choose: Callable[[int], int], watch: Callable | None = None) -> tuple:
        """Write by `choose(number of options)`; `watch` sees each piece and what is to come."""
        text, nats = "", 0.0
        memory: Memory = {}
        choices: list[Choice] = []
        copies: list[Copied] = []
        row: Any
        todo: list = [self.start]
        while todo:
            node = todo.pop()
            if isinstance(node, Fork):
                i = choose(len(node.options))
                nats += math.log(len(node.options))
                choices.append(Choice(f"<{node.name}>", node.sources[i], i, len(node.options)))
                todo.extend(reversed(node.options[i]))
                continue
            candidates = self._candidates(node, memory)
            i = choose(len(candidates)) if isinstance(node, Pick) else 0
            piece, row = candidates[i]
            if isinstance(node, Pick):
                nats += math.log(len(candidates))
                memory[node.slot] = row
                choices.append(Choice(node.slot, row["text"], i, len(candidates)))
            elif isinstance(node, Copy):
                end = len(text) + len(piece)
                copies.append(Copied(node.slot, node.skill, len(text), end, node.sure))
            text += piece
            if watch is not None:
                watch(node, piece, todo, memory)
        return text, Derivation(tuple(choices), tuple(copies), nats)

    def states(self, derivation: Derivation) -> list[tuple[Hashable, float]]:
        """What the rest of the story needs of its past, at each character of the text.

        A pair a character, from before the first to before the last: the place (the piece, how far
        into it, and what follows) and the nats of the remembered values that will be used again,
        with those that they depend on: "not the first" is one of all, where the first is forgotten.
        """
        indices = iter([choice.index for choice in derivation.choices])
        nats = {c.name: math.log(c.options) for c in derivation.choices}
        states: list[tuple[Hashable, float]] = [("start", 0.0)]

        def watch(node: Any, piece: str, todo: list, memory: Memory) -> None:
            place = tuple(map(id, todo))
            known = sum(nats[slot] for slot in self._behind(self._needs(todo)) if slot in memory)
            inside = [((piece[k:], place), known) for k in range(1, len(piece) + 1)]
            states.extend(inside)

        self._follow(lambda options: next(indices), watch)
        return states[:-1]

    def said(self, derivation: Derivation) -> list[int]:
        """For each copy of a derivation, the character where what it needs was last said.

        Of several slots that it follows from, the one that was said last the longest time ago. A
        place marked for the skill itself, `{@skill}`, goes before the slots.
        """
        indices = iter([choice.index for choice in derivation.choices])
        at, last, places = 0, dict[str, int](), list[int]()

        def watch(node: Any, piece: str, todo: list, memory: Memory) -> None:
            nonlocal at
            if isinstance(node, Copy):
                marked = last.get(f"@{node.skill}")
                followed = node.slot in self.computed and node.slot not in last
                slots = self.computed[node.slot][0] if followed else [node.slot]
                places.append(min(last.get(s, at) for s in slots) if marked is None else marked)
            if isinstance(node, (Pick, Copy)):
                last[node.slot] = at
            at += len(piece)

        self._follow(lambda options: next(indices), watch)
        return places

    def _needs(self, nodes: Iterable) -> set[str]:
        """The slots that some continuation through `nodes` uses."""
        needs: set[str] = set()
        for node in nodes:
            if isinstance(node, Fork):
                needs.update(*(self._needs(option) for option in node.options))
            elif isinstance(node, Pick):
                needs.update(node.without, {node.below} - {""})
            elif isinstance(node, Copy):
                needs.update(
                    self.computed[node.slot][0] if node.slot in self.computed else [node.slot]
                )
        return needs

    def _behind(self, slots: set[str]) -> set[str]:
        """The slots, and those that their options depend on, and so on."""
        more = slots.union(*(self._given.get(slot, set()) for slot in slots))
        return slots if more == slots else self._behind(more)

    def read(self, text: str) -> tuple[list[Derivation], Failure, list[float]]:
        """Every derivation of `text`, where reading stopped, and the price of each prefix.

        The derivations: none, or one where the grammar is unambiguous. The prices: for each k from
        0 to `len(text)`, `-ln` of the probability that a story begins with `text[:k]`
        (infinite where none does); the last one counts a story that goes on, too.
        """
        found: list[Derivation] = []
        furthest, expected, skills = 0, [], []
        mass = [1.0] + [0.0] * len(text)  # mass[k]: the probability that a story begins text[:k]
        # A branch: character, what is still to come, memory, nats, choices, copies. The last two
        # and what is to come are linked lists: branches share what they have in common.
        branches: list[tuple] = [(0, (self.start, None), {}, 0.0, None, None)]
        while branches:
            at, todo, memory, nats, choices, copies = branches.pop()
            if todo is None:
                if at == len(text):
                    found.append(Derivation(_unlink(choices), _unlink(copies), nats))
                elif at >= furthest:
                    furthest, expected, skills = at, ["the end of the story"], ["ending"]
                continue
            node, rest = todo
            if isinstance(node, Fork):
                cost = nats + math.log(len(node.options))
                for i, (option, source) in enumerate(zip(node.options, node.sources, strict=True)):
                    tail = rest
                    for part in reversed(option):
                        tail = (part, tail)
                    step = Choice(f"<{node.name}>", source, i, len(node.options))
                    branches.append((at, tail, memory, cost, (step, choices), copies))
                continue
            candidates = self._candidates(node, memory)
            nats += math.log(len(candidates))
            probability = math.exp(-nats)
            here = text[at : at + 1]
            for i, (piece, row) in enumerate(candidates):
                # Most of the words of a table begin with another letter: no more is asked of them.
                end = at if piece and piece[0] != here else at + _shared(piece, text, at)
                for k in range(at + 1, end + 1):
                    mass[k] += probability
                if end - at < len(piece):
                    if end > furthest:
                        furthest, expected, skills = end, [], []
                    if end == furthest:
                        expected.append(piece)
                        skills.append(node.skill if isinstance(node, Copy) else "wording")
                elif row is not None:
                    step = Choice(node.slot, row["text"], i, len(candidates))
                    known = memory | {node.slot: row}
                    branches.append((end, rest, known, nats, (step, choices), copies))
                elif isinstance(node, Copy):
                    copy = Copied(node.slot, node.skill, at, end, node.sure)
                    branches.append((end, rest, memory, nats, choices, (copy, copies)))
                else:
                    branches.append((end, rest, memory, nats, choices, copies))
        skill = skills[0] if len(set(skills)) == 1 else "wording"
        failure = Failure(furthest, tuple(dict.fromkeys(expected)), skill)
        return found, failure, [-math.log(m) if m else math.inf for m in mass]

    def entropy(self) -> float:
        """The expected nats of a story: exact, by walking the grammar once.

        Every choice is uniform, so a choice costs the same whatever is taken, but for `below`:
        there the number of options is the rank of an earlier row, and the cost is averaged.
        """
        return self._expected_nats(self.start, {})

    def _expected_nats(self, node: str | Fork | Pick | Copy, tables: dict[str, Sequence]) -> float:
        """The expected nats below `node`; `tables` collects which table each slot drew from."""
        if isinstance(node, Fork):
            inside = [
                sum(self._expected_nats(n, tables) for n in option) for option in node.options
            ]
            return math.log(len(inside)) + sum(inside) / len(inside)
        if not isinstance(node, Pick):
            return 0.0
        rows = self.tables[node.table]
        if callable(rows):
            return math.log(len(rows({key: {} for key in tables})))
        tables[node.slot] = rows
        if node.below:
            ranks = [next(i for i, r in enumerate(rows) if r is b) for b in tables[node.below]]
            return sum(math.log(rank) for rank in ranks) / len(ranks)
        return math.log(len(rows) - len(node.without))


def _tokens(rule: str, wording: str) -> list[str]:
    """The pieces of the notation, in order. Errors: ValueError where one would be lost."""
    tokens, depth = TOKENS.findall(wording), 0
    whole = "".join(tokens) == wording
    for token in tokens:
        depth += (token == "[") - (token == "]")
        whole = whole and depth >= (token == "|")
    if depth or not whole:
        raise ValueError(
            f"rule {rule!r}: cannot read {wording!r}. Each of [ < {{ needs its partner, and | "
            "stands between [ and ]."
        )
    return tokens


def _shared(piece: str, text: str, at: int) -> int:
    """How many characters of `piece` stand in `text` from `at` on."""
    if text.startswith(piece, at):
        return len(piece)
    shared, most = 0, min(len(piece), len(text) - at)
    while shared < most and piece[shared] == text[at + shared]:
        shared += 1
    return shared


def _unlink(chain: tuple | None) -> tuple:
    """A linked list `(last, (…, (first, None)))` as a tuple, first to last."""
    items = []
    while chain is not None:
        item, chain = chain
        items.append(item)
    return tuple(reversed(items))
