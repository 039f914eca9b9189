"""The parser as a judge: is a text a story, and if not, which rule did it break and where?

Given, not built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from gptlib.corpus.grammar import Derivation
from gptlib.corpus.story import END, Volume, volume_of


@dataclass(frozen=True)
class Verdict:
    """What the parser says of one text: a derivation, or the rule it broke and where.

    `skill`: a key of the volume's skills, or "end" for a text that stops early; `message`: the same
    in words; `position`: the character where reading stopped. All three are None for a story.
    """

    text: str
    derivation: Derivation | None = None
    skill: str | None = None
    position: int | None = None
    message: str | None = None

    @property
    def ok(self) -> bool:
        return self.derivation is not None

    @property
    def nats(self) -> float | None:
        """Minus the log-probability of the story, equal to the generator's."""
        return None if self.derivation is None else self.derivation.nats


@dataclass(frozen=True)
class Judgement:
    """What the parser says of a text of many stories; shares go from 0 to 1, of all of them."""

    verdicts: tuple[Verdict, ...]
    known: frozenset[str]

    @property
    def well_formed(self) -> float:
        """The share that the grammar could have written."""
        return self._share(verdict.ok for verdict in self.verdicts)

    @property
    def new(self) -> float:
        """The share that is well formed and not among the known stories."""
        return self._share(v.ok and v.text not in self.known for v in self.verdicts)

    @property
    def distinct(self) -> float:
        """Different texts as a share of all: 1 where nothing was said twice."""
        return len({v.text for v in self.verdicts}) / max(1, len(self.verdicts))

    @property
    def broken(self) -> dict[str, int]:
        """How many stories broke which rule, the most frequent first."""
        return dict(Counter(v.skill for v in self.verdicts if v.skill is not None).most_common())

    def _share(self, flags: Iterable[bool]) -> float:
        return sum(flags) / max(1, len(self.verdicts))


def judge(text: str, known: Collection[str] = (), volume: int = 1) -> Judgement:
    """Read a text of stories of a volume, separated by `END`, as a strict teacher would.

    `known`: texts of stories (a training set) that do not count as new. It never raises, whatever
    `text` holds. An empty text has no verdicts, and all its shares are 0.

    judge("Mia was a shy boy" + END).verdicts[0].position -> 14
    judge("Mia was a shy boy" + END).verdicts[0].skill -> "pronoun"
    """
    book = volume_of(volume)
    parts = [part.strip() for part in str(text).split(END)]
    return Judgement(tuple(_verdict(part, book) for part in parts if part), frozenset(known))


def _verdict(text: str, book: Volume) -> Verdict:
    derivations, failure, _ = book.grammar.read(text)
    if derivations:
        return Verdict(text, derivation=derivations[0])
    at = failure.position
    wanted = " or ".join(f'"{piece}"' for piece in failure.expected[:3])
    wanted += " or another" if len(failure.expected) > 3 else ""
    if at == len(text):
        message = f"the story stops after {at} characters, where {wanted} should follow"
        return Verdict(text, skill="end", position=at, message=message)
    found = text[at : at + 20].split("\n")[0]
    message = f'character {at}: expected {wanted}, found "{found}" ({book.skills[failure.skill]})'
    return Verdict(text, skill=failure.skill, position=at, message=message)
