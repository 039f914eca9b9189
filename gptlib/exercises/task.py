"""An exercise that looks at the learner's code and says in words what is wrong with it.

Given, not built. A task knows the course's own answer, inputs to try, and the mistakes that people
make, each as code with the sentence that it deserves. An answer that differs from ours is compared
with the mistakes; where it does the same as one of them, that sentence is what the learner reads.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gptlib.exercises.comparing import both, difference, shown, up_to
from gptlib.exercises.ending import Endless, at_most
from gptlib.exercises.written import advice, attempted, line_of

SECONDS = 2.0  # that one call may take
# What PyTorch says where a tensor without numbers is asked for one, or for how many there are.
ASKS_A_NUMBER = ("called on meta tensors", "register_meta function", "fake impl or Meta kernel")
# What PyTorch warns of where torch.tensor is put around numbers that want a gradient, which a check
# wants and the learner has not asked for.
GRADIENT_WANTED = "Converting a tensor with requires_grad"
OUT = "What comes out"  # where an answer has several sides, the name of the first
KINDS = ("warm-up", "core", "bug", "paper", "measurement", "stretch")


class Wrong(Exception):
    """What is wrong with an answer, in the terms of its task."""


class Untouched(Exception):
    """A bug hunt whose code still does what it did."""


@dataclass(frozen=True)
class Mistake:
    """Something that people write instead, and what to tell them."""

    says: str
    made: Callable[..., Any]


class Use:
    """What is done with an answer to find out what it does: a function is called.

    in_order: what comes out is a dictionary in which one thing follows from another, so that the
    first difference is the one to hear about. limit: seconds after which an answer is broken off;
    None where it runs in another process, which somebody else looks after.
    """

    in_order: bool = False
    limit: float | None = 3 * SECONDS

    def run(self, answer: Callable[..., Any], *given: Any) -> Any:
        """What comes out."""
        return answer(*given)

    def seconds(self, answer: Callable[..., Any], measured: float) -> float:
        """How long it took; an answer that runs in another process is timed there."""
        return measured

    def shown(self, name: str, *given: Any) -> str:
        """The same as it stands in a message.

        Use().shown("causal_mask", 3) -> "causal_mask(3)"
        """
        return f"{name}({', '.join(map(shown, given))})"


@dataclass(frozen=True)
class Task:
    """What is asked for, and all that is known about answers to it.

    name: chapter and function or class, "attention.causal_mask". reference: the course's own
    answer. inputs: from a seed to the arguments of several calls, the most telling first. right:
    answers that are written otherwise and are as good. kind: one of KINDS. use: what is done with
    an answer. anywhere: whether it must work on every device. devices_later: that it need not, as
    the chapter has not come to devices, and is told where it does not. bug: in a bug hunt, the code
    that the learner is given, which runs and is wrong.
    """

    name: str
    asks: str
    reference: Callable[..., Any]
    inputs: Callable[[int], Iterator[tuple[Any, ...]]]
    hints: tuple[str, str, str]
    mistakes: tuple[Mistake, ...]
    right: tuple[Callable[..., Any], ...]
    kind: str = "core"
    use: Use = Use()  # noqa: RUF009 (it has no state)
    anywhere: bool = False
    devices_later: bool = False
    bug: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Verdict:
    """What is said of an answer. `state`: "right", "wrong" or "not attempted"."""

    state: str
    words: str


def judge(task: Task, answer: Callable[..., Any], seed: int = 0) -> Verdict:
    """Look at an answer: it is put to use with each input of the task, and compared with ours."""
    if not attempted(answer):
        return Verdict("not attempted", f"nothing is written yet. {task.asks}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", GRADIENT_WANTED)
        return _judged(task, answer, seed)


def _judged(task: Task, answer: Callable[..., Any], seed: int) -> Verdict:
    """What is said of an answer that does something."""
    try:
        before: list[tuple[Any, ...]] = []
        for given in task.inputs(seed):
            compare(task, answer, given, before)
            before.append(given)
        if task.anywhere:
            elsewhere(task, answer, next(task.inputs(seed)))
    except Untouched as fault:
        return Verdict("not attempted", f"{fault}")
    except Wrong as fault:
        return Verdict("wrong", f"not yet. {fault}")
    return Verdict("right", f"right.{_for_later(task, answer, seed)}")


def _for_later(task: Task, answer: Callable[..., Any], seed: int) -> str:
    """What to think of once the chapters come to devices; nothing where all is well."""
    try:
        if task.devices_later:
            elsewhere(task, answer, next(task.inputs(seed)))
    except Wrong as fault:
        return f" For later: {fault}"
    return ""


def share(task: Task, answer: Callable[..., Any], seed: int = 0) -> float:
    """For how many of a task's inputs, of 1, an answer gives what it should: a part of the credit.

    An answer that is right has 1, and no other has.
    """
    if judge(task, answer, seed).state == "right":
        return 1.0
    faults = []
    for given in task.inputs(seed):
        try:
            compare(task, answer, given)
            faults.append(0)
        except (Untouched, Wrong):
            faults.append(1)
    return min(1 - sum(faults) / len(faults), 1 - 1 / (len(faults) + 1))


def compare(
    task: Task,
    answer: Callable[..., Any],
    given: tuple[Any, ...],
    before: Sequence[tuple[Any, ...]] = (),
) -> None:
    """Put the answer to use, the reference, and if they differ the mistakes. Errors: Wrong.

    before: inputs with which the answer was right. A mistake that is seen with one of them is
    another one, though it may give the same here.
    """
    call = task.use.shown(task.name.split(".")[-1], *given)
    got = ask(task, answer, given, call, before)
    wanted = task.use.run(task.reference, *copy.deepcopy(given))
    fault = difference(got, wanted)
    if fault is None:
        return
    keys = up_to(got, wanted) if task.use.in_order else []
    ours, theirs = both(*(_last(one, keys) for one in (wanted, got)))
    fault = fault.removeprefix(f"{OUT}: ")
    example = f"\n  asked     {call}\n  expected  {ours}\n  got       {theirs}"
    if task.bug is not None and does(task, task.bug, given, got):
        raise Untouched(f"the bug is still there. {task.asks}{example}")
    for mistake in task.mistakes:
        if does(task, mistake.made, given, got) and not seen(task, mistake, before):
            raise Wrong(mistake.says + example)
    if keys:  # whoever has made two mistakes hears of the first, where it is beyond doubt
        begun = [m for m in task.mistakes if does(task, m.made, given, got, keys)]
        if len(begun) == 1:
            raise Wrong(begun[0].says + example)
    raise Wrong(fault + _as_given(got, wanted, given) + example + held(task, before))


def _last(value: Any, keys: list[str]) -> Any:
    """The entry at which a comparison ended, as a message shows it; what comes out needs no name.

    _last({"What comes out": 3, "The mask": 4}, ["What comes out"]) -> 3
    """
    if not keys:
        return value
    return value[OUT] if keys[-1] == OUT else {keys[-1]: value[keys[-1]]}


def _as_given(got: Any, wanted: Any, given: tuple[Any, ...]) -> str:
    """A word more where the kind of number that came in is not the one that comes out."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        key = up_to(got, wanted)[-1:]
        got, wanted = (one.get(key[0]) if key else None for one in (got, wanted))
    if not torch.is_tensor(got) or not torch.is_tensor(wanted) or got.dtype == wanted.dtype:
        return ""
    kinds = {one.dtype for one in given if torch.is_tensor(one) and one.is_floating_point()}
    return " So does what it was given: keep that." if kinds == {wanted.dtype} else ""


def held(task: Task, before: Sequence[tuple[Any, ...]]) -> str:
    """The last input for which an answer was right, as an end for a message."""
    if not before:
        return ""
    return f"\n  right for {task.use.shown(task.name.split('.')[-1], *before[-1])}"


def seen(task: Task, mistake: Mistake, before: Sequence[tuple[Any, ...]]) -> bool:
    """Whether a mistake shows with one of these inputs already; one that raises there does not."""
    for given in before:
        try:
            found = task.use.run(mistake.made, *copy.deepcopy(given))
        except Exception:
            continue
        if difference(found, task.use.run(task.reference, *copy.deepcopy(given))) is not None:
            return True
    return False


def does(
    task: Task,
    other: Callable[..., Any],
    given: tuple[Any, ...],
    got: Any,
    keys: list[str] | None = None,
) -> bool:
    """Whether other code gives the same for these inputs. keys: the entries to look at, if any."""
    try:
        found = task.use.run(other, *copy.deepcopy(given))
        if keys:
            got, found = ({key: one[key] for key in keys} for one in (got, found))
        return difference(got, found) is None
    except Exception:  # a mistake may be one that raises for some inputs
        return False


def ask(
    task: Task,
    answer: Callable[..., Any],
    given: tuple[Any, ...],
    call: str,
    before: Sequence[tuple[Any, ...]] = (),
) -> Any:
    """What an answer gives. Errors: Wrong where it raises, is slow or changes what it was given."""
    mine = copy.deepcopy(given)
    began = time.perf_counter()
    try:
        with at_most(task.use.limit):
            got = task.use.run(answer, *mine)
    except Wrong:
        raise
    except Endless as error:
        raise Wrong(
            f"{call} does not end: it was broken off after {task.use.limit:.0f} seconds. Does "
            f"every way through its loop come nearer to the end?{line_of(error)}"
        ) from error
    except Exception as error:
        raised = f"{type(error).__name__}: {error}".partition("\n")[0]
        for mistake in task.mistakes:
            if raises(task, mistake.made, given, error):
                raise Wrong(f"{mistake.says}\n  asked     {call}\n  got       {raised}") from error
        raise Wrong(
            f"{call} raises {raised}{line_of(error)}"
            f"{advice(raised, answer, task.reference)}{held(task, before)}"
        ) from error
    if task.use.seconds(answer, time.perf_counter() - began) > SECONDS:
        raise Wrong(f"{call} takes more than {SECONDS:.0f} seconds. Is there a loop too many?")
    for first, after in zip(given, mine, strict=True):
        if difference(after, first) is not None:
            raise Wrong(
                f"{call} changes what it was given: make a new one instead.\n"
                f"  given     {shown(first)}\n  after it  {shown(after)}"
            )
    if got is None:
        raise Wrong(f"{call} gives None. Is its `return` missing?")
    return got


def raises(task: Task, other: Callable[..., Any], given: tuple[Any, ...], error: Exception) -> bool:
    """Whether other code fails with the same words."""
    try:
        task.use.run(other, *copy.deepcopy(given))
    except Exception as fault:
        return type(fault).__name__ == type(error).__name__ and str(fault) == str(error)
    return False


def elsewhere(task: Task, answer: Callable[..., Any], given: tuple[Any, ...]) -> None:
    """Put the answer to use on a device without numbers. Errors: Wrong where it needs the CPU.

    An answer that asks what a number is gets no further there, and is not blamed: a GPU tells it.
    """
    there = tuple(_to_meta(one) for one in given)
    say = "say device=x.device where a tensor is made."
    try:
        got = task.use.run(answer, *there)
    except Exception as error:
        if any(words in str(error) for words in ASKS_A_NUMBER):
            return
        told = task.anywhere and not isinstance(error, Wrong)  # else devices come later
        raised = f" ({type(error).__name__}: {error})" if told else ""
        raise Wrong(
            "It works on the CPU alone. Something is made there while the input may be on a GPU: "
            f"{say}{raised}"
        ) from error
    if "cpu" in _devices(got) and "cpu" not in _devices(task.use.run(task.reference, *there)):
        raise Wrong(
            "It works on the CPU alone. What comes out stands there, while the input may be on a "
            f"GPU: {say}"
        )


def _devices(value: Any) -> set[str]:
    """The kinds of devices on which the tensors of a value stand."""
    if torch.is_tensor(value):
        return {value.device.type}
    inside = value.values() if isinstance(value, dict) else value
    whole = isinstance(value, dict | list | tuple)
    return set().union(*map(_devices, inside)) if whole else set()


def _to_meta(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_meta(one) for key, one in value.items()}
    return value.to("meta") if torch.is_tensor(value) else value
