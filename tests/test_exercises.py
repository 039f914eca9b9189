"""Exercises: every wrong answer is told apart in words of its own, every right one goes on."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import math
import re
import threading
import time
from itertools import permutations

import house
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from chapterfiles import ROOT, chapters
from chapterfiles import read as notebook_of

from gptlib.attention import attention_weights, causal_mask
from gptlib.counts import cache_bytes
from gptlib.exercises import exercise, hint, solution
from gptlib.exercises.book import CHAPTERS, QUESTIONS, TASKS
from gptlib.exercises.comparing import both, difference, shown
from gptlib.exercises.ending import Endless, at_most
from gptlib.exercises.hunts import dealt
from gptlib.exercises.layers_beyond import silent_units
from gptlib.exercises.modules import MakeModule, weights_of
from gptlib.exercises.question import mark
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import KINDS, SECONDS, Mistake, Use, judge, share
from gptlib.exercises.written import attempted
from gptlib.experts import Experts
from gptlib.layers import gelu, layer_norm
from gptlib.loss import next_token_loss
from gptlib.merges import apply_merges, train_merges
from gptlib.modern import ModernConfig
from gptlib.rope import Rope
from gptlib.swiglu import SwiGLU

EACH = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
EACH_QUESTION = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
EACH_CHAPTER = pytest.mark.parametrize("number", range(1, len(CHAPTERS) + 1))
BUGS = [name for name, task in TASKS.items() if task.kind == "bug"]
SEEDS = range(10)
OF_A_CLASS = (*SEEDS, 15, 28, 45, 84, 97, 136, 2027, 10**9 + 7)  # an instructor may choose any


@EACH
def test_right_answers_pass_with_every_seed(task):
    assert len(task.right) >= 2
    for answer in (task.reference, *task.right):
        assert {judge(task, answer, seed).words for seed in SEEDS} == {"right."}


@EACH
def test_each_wrong_answer_is_told_what_is_wrong_with_it(task):
    assert len(task.mistakes) >= (5 if task.kind == "core" else 3)
    assert len({mistake.says for mistake in task.mistakes}) == len(task.mistakes)
    for mistake in task.mistakes:
        for seed in SEEDS:
            verdict = judge(task, mistake.made, seed)
            assert verdict.state == "wrong"
            assert verdict.words.startswith(f"not yet. {mistake.says}\n  asked "), verdict.words


@EACH
def test_a_check_takes_less_than_two_seconds_and_has_three_hints(task):
    judge(task, task.reference)  # what a program loads once is not counted
    began = time.process_time()
    judge(task, task.reference)
    assert time.process_time() - began < SECONDS
    assert len(set(task.hints)) == 3 and task.kind in KINDS


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_that_is_still_there_is_told_from_a_wrong_repair(name):
    for seed in SEEDS:
        verdict = judge(TASKS[name], TASKS[name].bug, seed)
        assert verdict.state == "not attempted"
        assert verdict.words.startswith("the bug is still there. ")


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("name", BUGS)
def test_a_class_may_be_dealt_another_bug(name, which):
    """It runs, is wrong in another way than the book's, and the mistakes keep their words."""
    ours, other = TASKS[name], dealt(TASKS[name], which)
    assert dealt(ours, 0) is ours and dealt(ours, 3) is ours
    assert dealt(ours, which + 3) == other
    assert other.hints != ours.hints and len(set(other.hints)) == 3
    for seed in SEEDS:
        assert judge(ours, other.bug, seed).state == "wrong"
        assert judge(other, ours.bug, seed).state == "wrong"
        assert judge(other, other.bug, seed).words.startswith("the bug is still there. ")
        for answer in (other.reference, *other.right):
            assert judge(other, answer, seed).words == "right."
        words = [judge(other, mistake.made, seed).words for mistake in other.mistakes]
        told = [f"not yet. {mistake.says}" for mistake in other.mistakes]
        same = [said for said in words if said.startswith("the bug is still there. ")]
        assert len(same) <= 1
        assert all(one.startswith((*same, say)) for one, say in zip(words, told, strict=True))


@pytest.mark.parametrize("name", BUGS)
def test_the_bugs_of_a_hunt_are_told_apart(name):
    """Whoever hands in another bug than the one dealt hears the sentence that it deserves."""
    hunts = [dealt(TASKS[name], which) for which in range(3)]
    assert len({hunt.asks for hunt in hunts}) == len({hunt.hints for hunt in hunts}) == 3
    told = tuple(f"not yet. {mistake.says}\n" for mistake in TASKS[name].mistakes)
    for hunt, other in permutations(hunts, 2):
        for seed in SEEDS:
            verdict = judge(hunt, other.bug, seed)
            assert verdict.state == "wrong"
            assert other is hunts[0] or verdict.words.startswith(told), verdict.words
    heard = [judge(hunts[0], hunt.bug).words.partition("\n")[0] for hunt in hunts[1:]]
    assert heard[0] != heard[1]


@EACH_CHAPTER
def test_a_chapter_has_exercises_of_every_kind(number):
    chapter = CHAPTERS[number - 1]
    found = [*chapter.TASKS, *chapter.QUESTIONS]
    assert len(found) >= 7 and {one.kind for one in found} == {*KINDS}
    assert len({one.name for one in found}) == len(found)


def imported_by(module, seen):
    """The modules of the course that an exercise's file imports, through other such files too."""
    if module in seen:
        return set()
    seen.add(module)
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    names = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("gptlib"):
            continue
        folder = node.module in ("gptlib", "gptlib.exercises")
        for name in (
            [f"{node.module}.{one.name}" for one in node.names] if folder else [node.module]
        ):
            names |= imported_by(name, seen) if ".exercises." in name else {name.split(".")[1]}
    return names


@EACH_CHAPTER
def test_a_check_needs_nothing_from_later_chapters(number):
    built = {name: int(n) for n, names in house.table()["chapters"].items() for name in names}
    needed = imported_by(CHAPTERS[number - 1].__name__, set())
    assert {built[name] for name in needed if name in built} >= {number}
    assert {name for name in needed if built.get(name, 0) > number} == set()


# Functions whose result nobody learns through, and why.
NOT_LEARNED = {
    "block.states": "the states are looked at",
    "block.residual_gradient": "it is a gradient itself",
    "generation.only_top_k": "what is drawn from has no gradient",
    "generation.keep_top_p": "what is drawn from has no gradient",
    "speed.orthogonalise": "an update is followed, and not learned through",
    "generation.next_token_probs": "what is drawn from has no gradient",
}


def cut(value):
    """The same numbers, without the way back to what they were made of."""
    if isinstance(value, tuple):
        return tuple(map(cut, value))
    return value.detach() if torch.is_tensor(value) else value


def wanting(given):
    """The same arguments; a gradient is wanted for those that can have one."""
    return [one.clone().requires_grad_() if torch.is_tensor(one) and one.is_floating_point()
            else one for one in given]  # fmt: skip


@EACH
def test_right_numbers_without_their_gradient_are_told_from_right_ones(task):
    if isinstance(task.reference, type) or type(task.use) not in (Use, WithSlopes):
        return
    outs = [task.reference(*wanting(given)) for given in task.inputs(0)]
    learned = any(torch.is_tensor(one) and one.requires_grad for out in outs
                  for one in (out if isinstance(out, tuple) else (out,)))  # fmt: skip
    assert (task.name in NOT_LEARNED) == (learned and type(task.use) is Use)
    if learned and task.name not in NOT_LEARNED:
        verdict = judge(task, lambda *given: cut(task.reference(*given)))
        assert verdict.words.startswith(f"not yet. {CUT}\n  asked ")


@pytest.mark.parametrize(
    "name",
    ["attention.Head", "attention.CausalSelfAttention", "layers.LayerNorm", "layers.FeedForward",
     "block.TransformerBlock"],
)  # fmt: skip
def test_a_layer_that_learns_and_cuts_off_those_before_it_is_wrong(name):
    reference = TASKS[name].reference

    class Cut(reference):
        def forward(self, x):
            return super().forward(x.detach())

    assert "no gradient goes on to it" in judge(TASKS[name], Cut).words


def test_what_runs_and_cannot_be_trained_is_told_why():
    def around(x, weights):
        x = x.clone()
        for weight in weights:
            x += torch.tanh(x @ weight)
        return x

    verdict = judge(TASKS["block.around"], around)
    assert verdict.state == "wrong" and "inplace" in verdict.words
    assert "x = x + ..." in verdict.words
    block = TASKS["block.TransformerBlock"]
    idle = type("Idle", (block.reference,), {"forward": lambda self, x: x})
    assert "do the layers take part" in judge(block, idle).words
    verdict = judge(TASKS["layers.gelu"], lambda x: torch.from_numpy(gelu(x).numpy()))
    assert verdict.state == "wrong" and "with torch alone" in verdict.words


# Questions ---------------------------------------------------------------------------------------


@EACH_QUESTION
def test_the_right_value_is_right_with_every_seed(question):
    for seed in OF_A_CLASS:
        wanted = question.answer(**question.figures(seed))
        assert mark(question, wanted, seed).words == f"right. {question.because}"
        if isinstance(wanted, tuple):
            assert mark(question, list(wanted), seed).state == "right"


def numbers(value):
    """The numbers of an answer that are not counted."""
    if isinstance(value, tuple):
        return [one for part in value for one in numbers(part)]
    return [value] if isinstance(value, float) else []


def rounded(value, places):
    """An answer with as many decimals as are asked for."""
    if isinstance(value, tuple):
        each = places if isinstance(places, tuple) else (places,) * len(value)
        return tuple(map(rounded, value, each))
    return round(value, places) if isinstance(value, float) else value


@EACH_QUESTION
def test_a_number_is_asked_for_to_so_many_places_and_right_when_rounded_to_them(question):
    seeds = sorted({*OF_A_CLASS, *range(41)})
    answers = [question.answer(**question.figures(seed)) for seed in seeds]
    if not any(map(numbers, answers)):
        assert question.places is None
        return
    words = question.asks.lower()
    for places in {*(question.places if isinstance(question.places, tuple) else [question.places])}:
        word = ("", "one", "two", "three", "four", "five")[places]
        assert re.search(rf"\b{word} (places?|decimals?)\b|\bsecond with {word}\b", words)
    for seed, wanted in zip(seeds, answers, strict=True):
        said = rounded(wanted, question.places)
        assert mark(question, said, seed).state == "right", (seed, said, wanted)


@EACH_QUESTION
def test_each_wrong_value_is_told_what_is_wrong_with_it(question):
    assert len(question.mistakes) >= 3
    assert len({mistake.says for mistake in question.mistakes}) == len(question.mistakes)
    for mistake in question.mistakes:
        for seed in OF_A_CLASS:
            said = mistake.made(**question.figures(seed))
            verdict = mark(question, said, seed)
            assert verdict.state == "wrong"
            assert verdict.words == f"not yet: {shown(said)}. {mistake.says}"


def test_what_is_measured_is_guessed_first():
    """The text above each place for such an answer asks for a guess."""
    left = {name for name, one in {**TASKS, **QUESTIONS}.items() if one.kind == "measurement"}
    assert len(left) >= 12  # one a chapter
    for path in chapters(ROOT):
        asks = ""
        for cell in notebook_of(path).cells:
            asks = cell.source if cell.cell_type == "markdown" else asks
            there = {name for name in left if f'answer("{name}"' in cell.source}
            assert not there or "uess" in asks, there
            left -= there
    assert not left


@EACH_QUESTION
def test_a_class_gets_variants_of_what_is_worked_out_or_measured(question):
    assert question.kind in ("paper", "measurement")
    assert len({question.asked(seed) for seed in OF_A_CLASS}) >= 3
    assert len({shown(question.answer(**question.figures(seed))) for seed in OF_A_CLASS}) >= 3


@EACH_QUESTION
def test_a_question_has_three_hints_and_is_marked_in_less_than_two_seconds(question):
    assert len(set(question.hints)) == 3
    began = time.process_time()
    mark(question, "no such value")
    assert time.process_time() - began < SECONDS


@EACH_QUESTION
def test_a_value_that_is_not_there_or_of_another_kind_gets_words(question):
    for nothing_said in (..., None):
        verdict = mark(question, nothing_said)
        assert verdict.state == "not attempted" and verdict.words.endswith(question.asked())
    wanted = question.answer(**question.figures(0))
    others = ["no such value", {}, torch.zeros(2, 2), len, (), (1, 2, 3, 4, 5, 6, 7), -123456789]
    for said in others:
        verdict = mark(question, said)
        assert verdict.state == "wrong" and verdict.words.startswith("not yet. ")
    kinds = {
        tuple: "values",
        bool: "True or False",
        str: "A word",
        int: "A number",
        float: "A number",
    }
    assert kinds[type(wanted)] in mark(question, {}).words


# What else is said -------------------------------------------------------------------------------


def nothing(context_length):
    """(T, T) booleans."""
    ...


def changes_it(query, key, mask=None):
    query /= key.size(-1) ** 0.5
    scores = query @ key.transpose(-2, -1)
    return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)


def one_batch(query, key, mask=None):
    scores = torch.einsum("btc,bsc->bts", query, key) / key.size(-1) ** 0.5
    return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)


def slow(context_length):
    time.sleep(SECONDS * 1.1)
    return causal_mask(context_length)


class Forgetful(TASKS["block.TransformerBlock"].reference):
    def __init__(self, *given, norm="pre", **settings):
        super().__init__(*given, norm=norm, **settings)

    def forward(self, x):
        return x if norm == "pre" else -x  # noqa: F821 (that is the fault)


class ForgetfulGPT(TASKS["gpt.GPT"].reference):
    def __init__(self, config):
        super().__init__(config)
        made = config.n_layer
        self.depth = made

    def forward(self, idx, targets=None):
        return made  # noqa: F821 (that is the fault)


class LossAlways(TASKS["bigram.BigramModel"].reference):
    def forward(self, idx, targets=None):
        logits = self.table(idx)
        return logits, F.cross_entropy(logits.mT, targets, ignore_index=-1)


def kept_in(name, kind):
    """A class that keeps its layers in a list or tuple."""

    def init(self, *given, **settings):
        torch.nn.Module.__init__(self)
        self.config = given[0] if given else None
        self.token_embedding = self.position_embedding = torch.nn.Embedding(3, 4)
        self.head = torch.nn.Linear(4, 3, bias=False)
        self.head.weight = self.token_embedding.weight
        setattr(self, name, kind([torch.nn.Linear(4, 4)]))

    return type("Kept", (torch.nn.Module,), {"__init__": init})


OTHERS = {
    "gives nothing back": ("attention.causal_mask", lambda T: print(end=""), "gives None"),
    "raises": ("attention.causal_mask", lambda T: T.missing, "raises AttributeError"),
    "a list": ("attention.causal_mask", lambda T: [[True] * T] * T, "a list; it should be a ten"),
    "shape": ("attention.causal_mask", lambda T: causal_mask(T)[None], "shape is (1, 3, 3)"),
    "only for three": ("attention.causal_mask", lambda T: causal_mask(3), "causal_mask(1)"),
    "slow": ("attention.causal_mask", slow, "more than 2 seconds"),
    "changes its input": ("attention.attention_weights", changes_it, "changes what it was given"),
    "one batch": ("attention.attention_weights", one_batch, "raises RuntimeError"),
    "nan": ("attention.causal_mask", lambda T: causal_mask(T) / 0, "torch.float32"),
    "an array": ("attention.causal_mask", lambda T: causal_mask(T).numpy(), "an array of NumPy"),
    "a line that raises": (
        "attention.attention_weights",
        one_batch,
        "\n  in line   scores = torch",
    ),
    "right before": (
        "attention.causal_mask",
        lambda T: causal_mask(3),
        "\n  right for causal_mask(3)",
    ),
    "before and after": ("attention.attention_weights", changes_it, "\n  after it  [[-0.5"),
    "one kind of number": (
        "attention.attention_weights",
        lambda q, k, mask=None: attention_weights(q, k, mask).float(),
        "should hold torch.float64. So does what it was given",
    ),
    # The second count is that of the units that fire, and the first was right: it is by chance.
    "only single precision": (
        "bigram.next_token_loss",
        lambda z, t: next_token_loss(z.float(), t),
        "torch.float64. So does what it was given",
    ),
    "by chance": (
        "layers.silent_units",
        lambda x: silent_units(x) + (len(x) > 2) * (x.size(-1) - 2 * silent_units(x)),
        "not yet. It is ",
    ),
    "far behind the point": (
        "layers.gelu",
        lambda x, _="": gelu(x) + 2e-5,
        "At [4] it is 1.95462 and not 1.9546.",
    ),
    "another entry": (
        "tokenizer.train_merges",
        lambda words, n: {**train_merges(words, n), (97, 98): 300},
        "(97, 98): It is 300 and not 256.",
    ),
    "an entry too many": (
        "tokenizer.train_merges",
        lambda words, n: {**train_merges(words, n), (1, 2): 300},
        "an entry too many, for (1, 2)",
    ),
    "one place": (
        "tokenizer.apply_merges",
        lambda i, m: [7, *apply_merges(i, m)[1:]],
        "At place 0",
    ),
    "too long": (
        "tokenizer.apply_merges",
        lambda i, m: [*apply_merges(i, m), 7],
        "It holds 9 values",
    ),
    "bytes are no list": (
        "tokenizer.apply_merges",
        lambda i, m: apply_merges(i.copy(), m),
        "list(...) makes a list of their numbers",
    ),
    "numbers of a model, some of them": (
        "gpt.init_gpt2",
        lambda model: [p[:].zero_() for p in model.parameters()],
        "Write under `with torch.no_grad():`.",
    ),
    "numbers of a model, all of them": (
        "gpt.init_gpt2",
        lambda model: [p.mul_(0) for p in model.parameters()],
        "Write under `with torch.no_grad():`.",
    ),
    "an argument of __init__": (
        "block.TransformerBlock",
        Forgetful,
        "`norm` is known in `__init__` alone. Keep it there, as `self.norm = norm`, and use "
        "`self.norm`.",
    ),
    "a name that nothing has": (
        "attention.causal_mask",
        lambda context_length: torch.ones(T, T).tril(),  # noqa: F821
        "Nothing is called `T` here. What the function is given is called `context_length`;",
    ),
    "a view of axes that have changed places": (
        "attention.join_heads",
        lambda heads: heads.transpose(1, 2).view(*heads.transpose(1, 2).shape[:2], -1),
        "`reshape` copies them where it has to",
    ),
    "math for many numbers": (
        "layers.gelu",
        lambda x, approximate="tanh": math.tanh(x),
        "torch has functions of the same names",
    ),
    "None for what may be left out": (
        "layers.layer_norm",
        lambda x, weight=None, bias=None, eps=1e-5: layer_norm(x, eps=eps) * weight + bias,
        "Something is None here: an argument that may be left out and was",
    ),
    "what __init__ has made": (
        "gpt.GPT",
        ForgetfulGPT,
        "Keep it there, as `self.made = made`, and use `self.made`.",
    ),
    "blocks in a list": (
        "gpt.GPT",
        kept_in("blocks", list),
        "`blocks` is a list; a module does not look into those",
    ),
    "layers in a tuple": (
        "layers.FeedForward",
        kept_in("layers", tuple),
        "`layers` is a tuple; a module does not look into those",
    ),
    "no targets for a loss of one's own": (
        "bigram.BigramModel",
        LossAlways,
        "Without targets there is no loss to compute: give None.",
    ),
    "a number without a place": (
        "bigram.next_token_loss",
        lambda logits, targets: logits.sum() * 0 + 7,
        "not yet. It is 7.0 and not ",
    ),
    "whole numbers that should be others": (
        "bigram.bigram_probs",
        lambda counts, smoothing=0.0: counts.add_(smoothing),
        "x = x + ... makes a new one",
    ),
    "a question to many numbers": (
        "block.dropout",
        lambda x, draws, p, training: 0 * x if draws < p else x,
        "torch.where chooses for each",
    ),
}


@pytest.mark.parametrize(("name", "answer", "words"), OTHERS.values(), ids=OTHERS)
def test_other_faults_are_named(name, answer, words):
    verdict = judge(TASKS[name], answer)
    assert verdict.state == "wrong" and words in verdict.words


def endless(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if (ids[i], ids[(i + 1) % len(ids)]) == pair:
            merged.append(new_id)
            i += 2
    return merged


def test_an_answer_that_does_not_end_is_broken_off(monkeypatch):
    monkeypatch.setattr(Use, "limit", 0.2)
    began = time.perf_counter()
    words = judge(TASKS["tokenizer.merge_pair"], endless).words
    assert time.perf_counter() - began < 30  # and not for ever; the machine may be busy
    assert "does not end: it was broken off" in words and "come nearer to the end?" in words
    assert re.search(r"\n  in line   (while i|if \(ids)", words)
    time.sleep(0.3)  # nothing comes after it
    monkeypatch.setattr(Use, "limit", None)
    assert judge(TASKS["tokenizer.merge_pair"], TASKS["tokenizer.merge_pair"].right[0]).words


def test_what_ends_in_time_is_left_alone():
    for _ in range(50):
        with at_most(2.0):
            pass
    time.sleep(2.1)
    assert not [one for one in threading.enumerate() if isinstance(one, threading.Timer)]


def test_a_mistake_of_a_kind_nobody_thought_of_is_shown_by_an_example():
    verdict = judge(TASKS["attention.causal_mask"], lambda T: torch.eye(T, dtype=torch.bool))
    assert "asked     causal_mask(3)" in verdict.words
    assert "got       [[True, False, False], [False, True, False]" in verdict.words


def test_the_notebook_goes_on_with_the_right_code(capsys):
    mine = exercise("attention.causal_mask")(lambda T: torch.arange(T)[:, None] >= torch.arange(T))
    assert mine is not causal_mask and "goes on with your code" in capsys.readouterr().out
    wrong = exercise("attention.causal_mask")(lambda T: causal_mask(T).T)
    assert wrong is causal_mask and "upside down" in capsys.readouterr().out
    absent = exercise("attention.causal_mask")(nothing)
    said = capsys.readouterr().out
    assert absent is causal_mask and "nothing is written yet" in said and "hint(" in said


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [(nothing, False), (lambda T: None, False), (lambda T: 5, True), (lambda T: T, True),
     (torch.nn.Linear, True), (slow, True), (torch.tril, True)],
)  # fmt: skip
def test_only_what_does_nothing_is_not_attempted(answer, wanted):
    assert attempted(answer) is wanted


def test_hints_come_one_by_one_and_the_solution_when_asked(capsys):
    for n in (1, 2, 3, 3):
        hint("attention.attention_weights")
        assert capsys.readouterr().out.startswith(f"Hint {n} of 3: ")
    solution("attention.causal_mask")
    assert "def causal_mask" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"attention\.causal_mask, .*got 'attention\.mask'"):
        hint("attention.mask")


def test_a_check_that_knows_a_mistake_by_the_wrong_name_is_seen():
    """The guard above, guarded: with another code under a sentence the sentence is not said."""
    task = TASKS["attention.causal_mask"]
    other = Mistake(task.mistakes[0].says, lambda T: torch.eye(T, dtype=torch.bool))
    changed = type(task)(**{**vars(task), "mistakes": (other,)})
    verdict = judge(changed, task.mistakes[0].made)
    assert not verdict.words.startswith(f"not yet. {other.says}")


# The machinery by itself --------------------------------------------------------------------------


def test_without_a_seed_it_is_the_book_s():
    task = TASKS["attention.attention_weights"]
    wrong = judge(task, task.mistakes[0].made).words
    assert wrong == judge(task, task.mistakes[0].made, 0).words
    assert wrong != judge(task, task.mistakes[0].made, 1).words
    question = next(one for one in QUESTIONS.values() if one.kind == "paper")
    assert question.asked() == question.asked(0) != question.asked(1)


ALONE = "It works on the CPU alone. "


def on_the_cpu_alone():
    """Right answers, each with what it needs of the CPU, and what is said of it."""

    def orthogonalise(matrix, steps=5):
        return torch.eye(len(matrix)).double() @ TASKS["speed.orthogonalise"].reference(
            matrix, steps
        )

    def soft_cap(x, cap):
        return x if cap is None or x.abs().max().item() == 0 else cap * torch.tanh(x / cap)

    return {
        "attention.past_average": (
            lambda x: x.cumsum(0) / torch.arange(1, len(x) + 1)[:, None],
            f"right. For later: {ALONE}Something is made there",
        ),
        "modern.rotate": (
            lambda x, cos, sin: torch.cat(
                [x.chunk(2, -1)[0] * cos - x.chunk(2, -1)[1] * sin,
                 x.chunk(2, -1)[1] * cos + x.chunk(2, -1)[0] * sin], -1
            ) * torch.ones(x.shape),
            f"not yet. {ALONE}Something is made there",
        ),
        "speed.orthogonalise": (orthogonalise, f"not yet. {ALONE}What comes out stands there"),
        "modern.soft_cap": (soft_cap, "right."),
    }  # fmt: skip


@pytest.mark.parametrize("name", on_the_cpu_alone())
def test_what_works_on_the_cpu_alone_is_told_and_what_looks_at_a_number_is_not_blamed(name):
    """Before chapter 3 has come to devices it is said, and right all the same."""
    answer, words = on_the_cpu_alone()[name]
    assert judge(TASKS[name], answer).words.startswith(words)


def test_before_devices_are_explained_no_error_of_theirs_is_shown():
    def past_average(x):
        rows = torch.zeros(x.shape)
        for t in range(len(x)):
            rows[t] = x[: t + 1].mean(dim=0)
        return rows

    words = judge(TASKS["attention.past_average"], past_average).words
    assert words.startswith(f"right. For later: {ALONE}") and "Error" not in words
    later = [task for task in TASKS.values() if task.devices_later and not task.anywhere]
    assert TASKS["attention.past_average"] in later


def test_a_gradient_that_the_check_wants_makes_no_warning_of_the_learner_s(recwarn):
    def past_average(x):
        return torch.tensor([[x[: t + 1, c].mean() for c in range(x.size(1))]
                             for t in range(len(x))])  # fmt: skip

    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # PyTorch warns once a process
    try:
        assert CUT in judge(TASKS["attention.past_average"], past_average).words
        assert not recwarn.list
        past_average(torch.ones(2, 2, requires_grad=True))
        assert "Converting a tensor with requires_grad" in str(recwarn.pop().message)
    finally:
        torch.set_warn_always(before)


def test_a_part_of_the_inputs_right_is_a_part_of_the_credit_and_never_all_of_it():
    task = TASKS["attention.causal_mask"]
    n = len(list(task.inputs(0)))
    assert share(task, task.reference) == 1
    assert share(task, lambda T: causal_mask(3)) == pytest.approx(1 / n)
    assert share(task, lambda T: None) == 0
    # With each input it gives what it should, and it works on the CPU alone.
    keep = next(one for one in TASKS.values() if one.anywhere and type(one.use) is Use)

    def here(x, *others):
        assert x.device.type == "cpu"
        return keep.reference(x, *others)

    n = len(list(keep.inputs(0)))
    assert "works on the CPU alone" in judge(keep, here).words
    assert share(keep, here) == pytest.approx(n / (n + 1))


def test_places_that_are_no_number_are_told_unless_they_should_be_none():
    nan, one = torch.tensor([0.0, torch.nan]), torch.tensor([0.0, 1.0])
    assert "places with nan" in difference(nan, one)
    assert difference(nan, nan) is None
    assert "places with nan" not in difference(torch.tensor([torch.nan] * 2), nan)
    # What differs is named, and not the place where both are none.
    nan = torch.tensor([torch.nan, 1.0, torch.inf])
    assert difference(nan, torch.tensor([torch.nan, 2.0, torch.inf])).endswith(
        "At [1] it is 1.0 and not 2.0."
    )


def test_values_stand_in_messages_short_and_as_one_would_write_them():
    assert shown((torch.tensor([0.12345, 2.0]), 3)) == "([0.123, 2.0], 3)"
    assert shown({"a": torch.rand(4, 5), "b": [1 / 3]}) == "a: numbers of shape (4, 5); b: [0.333]"
    assert shown(ModernConfig(n_layer=2, tied=False)) == "ModernConfig(n_layer=2, tied=False)"
    assert shown(ModernConfig) == repr(ModernConfig)


def test_values_that_are_too_large_are_shown_where_they_differ_most():
    one, other = torch.rand(4, 5), torch.rand(4, 5)
    one[2, 3], other[2, 3] = 0.5, -7.0
    said = ("numbers of shape (4, 5), at [2, 3] 0.5", "numbers of shape (4, 5), at [2, 3] -7.0")
    assert both(one, other) == said
    assert both({"a": one}, {"a": other}) == tuple(f"a: {words}" for words in said)


def test_of_several_values_it_is_said_which_are_not_right():
    question = QUESTIONS["attention.two_scores"]
    for value, words in {(0.75, 0.7, 0.9): "of the 3 values, number 2 is not right.",
                         (0.7, 0.75, 0.8): "of the 3 values, numbers 1 and 3 are not right.",
                         (0.7, 0.7, 0.7): "none of the 3 values is right."}.items():  # fmt: skip
        assert mark(question, value).words == f"not yet. {value}: {words}"


def test_a_value_may_be_typed_in_as_a_tensor_of_one_number():
    question = next(q for q in QUESTIONS.values() if type(q.answer(**q.figures(0))) is int)
    wanted = question.answer(**question.figures(0))
    for kind in (torch.tensor, np.int64):
        assert mark(question, kind(wanted)).state == "right"
        assert mark(question, kind(wanted + 1)).state == "wrong"
    assert mark(question, torch.tensor([wanted])).state == "wrong"


def test_several_values_may_be_tensors_too():
    """As they are where they come out of a cell: `answer(name, a.sum(), b.max())`."""
    found = {name: q.answer(**q.figures(0)) for name, q in QUESTIONS.items()}
    several = {
        name: wanted
        for name, wanted in found.items()
        if type(wanted) is tuple and {*map(type, wanted)} <= {int, float}
    }
    assert len(several) > 10
    for name, wanted in several.items():
        for kind in (lambda x: torch.tensor(x, dtype=torch.float64 if type(x) is float else None),
                     lambda x: np.asarray(x)[()]):  # fmt: skip
            said = [kind(one) for one in wanted]
            assert mark(QUESTIONS[name], tuple(said)).state == "right"
            assert mark(QUESTIONS[name], said).state == "right"
            assert mark(QUESTIONS[name], said[:-1]).state == "wrong"


def test_gradients_are_those_of_a_sum_in_which_every_output_has_another_weight():
    """Three outputs of one number: the weights of the sum are -1, 0 and 1, or -1, 0.5 and 2."""
    weights = {"weight": torch.tensor([[2.0], [3.0], [5.0]])}
    use, x = MakeModule(), torch.tensor([[7.0]])
    settings = {"in_features": 1, "out_features": 3, "bias": False}
    seen = use.run(torch.nn.Linear, settings, weights, x)
    assert seen["What comes out"].tolist() == [[14, 21, 35]]
    assert seen["The gradient of weight"].tolist() == [[-7], [0], [7]]
    assert seen["The gradient for x"].tolist() == [[-2 + 5]]

    class Scored(torch.nn.Linear):  # gives a loss beside it, and keeps what is no parameter
        def __init__(self, **settings):
            super().__init__(**settings)
            self.register_buffer("mask", torch.ones(3))

        def forward(self, x):
            return super().forward(x), torch.tensor(0.5)

    again = use.run(Scored, settings, weights, x)
    assert [one.tolist() for one in again.values()] == [one.tolist() for one in seen.values()]
    assert list(use.run(torch.nn.Tanh, {}, {}, x)) == ["What comes out", "The gradient for x"]
    x = torch.tensor([1.0, 2.0, 1 / 3], dtype=torch.float64)
    seen = WithSlopes("x").run(torch.square, x)
    assert seen["The gradient for x"].tolist() == [-2, 0.5 * 4, 2 * 2 / 3]


def test_weights_of_a_module_are_drawn_by_the_seed_alone():
    settings = {"in_features": 40, "out_features": 50}
    torch.manual_seed(0)
    drawn = weights_of(torch.nn.Linear, settings, 3)
    torch.manual_seed(1)
    again, other = (weights_of(torch.nn.Linear, settings, seed) for seed in (3, 4))
    assert {name: tuple(w.shape) for name, w in drawn.items()} == {
        "weight": (50, 40),
        "bias": (50,),
    }
    assert all(torch.equal(drawn[name], again[name]) for name in drawn)
    assert not torch.equal(drawn["weight"], other["weight"])
    assert drawn["weight"].std().item() == pytest.approx(0.5, rel=0.1)


def test_the_clock_is_stopped_at_the_end_and_does_nothing_if_it_rings_after_it(monkeypatch):
    """A clock that is wound by hand, in the place of the threads'."""
    clocks = []

    class ByHand:
        def __init__(self, seconds, ring):
            self.seconds, self.ring, self.said = seconds, ring, []
            clocks.append(self)

        def start(self):
            self.said.append(f"start, daemon {self.daemon}")

        def cancel(self):
            self.said.append("cancel")

    monkeypatch.setattr(threading, "Timer", ByHand)
    with at_most(7.0):
        pass
    (clock,) = clocks
    assert clock.seconds == 7 and clock.said == ["start, daemon True", "cancel"]
    clock.ring()
    for _ in range(1000):  # Endless would come between two of these steps
        pass
    with pytest.raises(Endless), at_most(7.0):
        clocks[1].ring()
        time.sleep(0.01)


def test_the_line_that_raised_is_the_learner_s_and_not_the_course_s():
    def mine(T):
        return causal_mask(f"{T}")  # it raises inside of gptlib, and torch below it

    assert judge(TASKS["attention.causal_mask"], mine).words.count("\n  in line   ") == 1
    assert (
        '\n  in line   return causal_mask(f"{T}")'
        in judge(TASKS["attention.causal_mask"], mine).words
    )


# Chapter 9: answers that stand in no module of the chapter, beside what does ---------------------


def test_tokens_one_by_one_and_a_few_at_a_time_take_what_the_full_attention_says():
    q, k, v = torch.randn(3, 2, 3, 7, 4)
    full = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    step, kept = TASKS["modern.cached_step"].reference, None
    for t in range(7):
        out, kept = step(*(part[:, :, t : t + 1] for part in (q, k, v)), kept)
        torch.testing.assert_close(out, full[:, :, t : t + 1])
    late = TASKS["modern.late_attention"].reference
    for T in (1, 3, 7):
        torch.testing.assert_close(late(q[:, :, -T:], k, v), full[:, :, -T:])


def test_new_tokens_are_turned_as_rope_turns_them():
    x, rope = torch.randn(2, 3, 4, 6), Rope(6, 12)
    for read in (0, 5, 8):
        found = TASKS["modern.turned"].reference(x, rope.cos, rope.sin, read)
        assert torch.equal(found, rope(x, start=read))


def test_the_experts_of_an_exercise_are_those_of_the_layer():
    layer, x = Experts(6, 4, n_expert=5, n_active=2), torch.randn(2, 3, 6)
    routing = layer.route(x)
    found = TASKS["modern.top_k_weights"].reference(layer.router(x), 2)
    assert torch.equal(found.gather(-1, routing.chosen), routing.weights)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, 3))


def parameters(module):
    return sum(one.numel() for one in module.parameters())


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_counted_on_paper_is_what_the_modules_have(seed):
    asked = QUESTIONS["modern.swiglu_count"]
    (n_embd,) = asked.figures(seed).values()
    hidden, weights = asked.answer(n_embd)
    with torch.device("meta"):
        assert parameters(SwiGLU(n_embd, hidden)) == weights
        asked = QUESTIONS["modern.active"]
        figures = asked.figures(seed)
        assert parameters(Experts(**figures)) == asked.answer(**figures)[0]
        idle = figures["n_expert"] - figures["n_active"]
        expert = parameters(SwiGLU(figures["n_embd"], figures["hidden"]))
        assert asked.answer(**figures)[0] - idle * expert == asked.answer(**figures)[1]
    asked = QUESTIONS["modern.cache_bytes"]
    figures = asked.figures(seed)
    shared = ModernConfig.preset("llama3-8b", **figures)
    own = ModernConfig.preset("llama3-8b", **{**figures, "n_kv_head": figures["n_head"]})
    assert asked.answer(**figures) == (cache_bytes(shared, 1), cache_bytes(own, 1))


def test_the_figures_of_the_cache_are_those_of_llama_3_in_the_book():
    figures = QUESTIONS["modern.cache_bytes"].figures(0)
    llama = vars(ModernConfig.preset("llama3-8b"))
    assert figures == {name: llama[name] for name in figures}
