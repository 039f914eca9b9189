"""The symptom lab: short runs of the book's GPT, each with one thing wrong, and what shows.

Claim: each of the fifteen faults that chapter 7 asks for leaves traces in the losses, the gradients
or the updates by which it can be told from every other one and from a healthy run, beyond the
differences between seeds. Of missing positions nothing is to be seen in windows this short.

    python experiments/symptoms.py              # ten quiet minutes; writes data/runs/symptoms.json
    python experiments/symptoms.py --resume     # only what is not recorded yet
    python experiments/symptoms.py no_mask      # one or more of the runs below, anew

The runs see the first 16 tokens of 32 stories a step: short windows let a fault show early.
Recorded for each run and seed, every ten steps: the training loss (mean of the last ten batches),
the validation loss as the faulty program itself measures it (100 unseen stories), the length of the
gradient before clipping (mean of ten), and how far an update moves the weights (length of the
change over length of the weights) for the token table and for the matrices of the blocks. At the
end the exam: 100 other stories, scored rightly whatever the program believes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from recording import arguments, begin, encode, few, fill, prepare, shortened
from torch import nn

from gptlib import corpus
from gptlib.attention import CausalSelfAttention, attention_weights
from gptlib.batches import get_batch
from gptlib.corpus.scoring import AnswerKey, story_starts
from gptlib.generation import generate
from gptlib.given.models import evaluating
from gptlib.gpt import GPT, GPTConfig
from gptlib.loss import IGNORED_TARGET, next_token_loss
from gptlib.tokenizer import BPETokenizer
from gptlib.training import Run, TrainConfig, make_optimizer

STEPS, EVERY, SEEDS = 300, 10, range(3)
CONFIG = GPTConfig.preset("stories", context_length=16)
BEGIN = 4  # of an exam story's tokens, then the model goes on


class Beginnings:
    """The first tokens of unseen stories, after END: idx and targets (N, T), and their floor."""

    def __init__(self, n: int, seed: int, tokenizer: BPETokenizer) -> None:
        texts, T = corpus.stories(few(n, 20), seed=seed), CONFIG.context_length
        whole = AnswerKey(texts, tokenizer)
        self.text = corpus.END.join(story.text for story in texts)
        self.idx, self.targets = whole.idx[:, :T], whole.targets[:, :T]
        costs = [cost for story in texts for cost in corpus.surprisals(story, tokenizer)[:T]]
        self.floor = sum(costs) / len(costs)


class Lab:
    """What all runs share: training text, validation stories, exam stories."""

    def __init__(self) -> None:
        self.tokenizer, self.ids, *_ = prepare(n_exam=1)
        self.starts = story_starts(self.ids, self.tokenizer, CONFIG.context_length)
        self.validation = Beginnings(100, 1, self.tokenizer)
        self.exam = Beginnings(100, 2, self.tokenizer)


class Healthy:
    """The recipe, in a short run. Every other run changes one thing of it."""

    config = CONFIG
    training = TrainConfig.preset(
        "stories", steps=STEPS, batch_size=32, context_length=CONFIG.context_length, device="cpu"
    )

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.training = shortened(replace(self.training, seed=seed))
        self.generator = torch.Generator().manual_seed(seed)

    def model(self) -> GPT:
        """A fresh model."""
        return GPT(self.config)

    def optimizer(self, model: GPT) -> torch.optim.Optimizer:
        """The optimiser and the parameters it looks after."""
        return make_optimizer(model, self.training)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of update number `step`: (B, T) each."""
        return self.draw(self.lab.ids, self.lab.starts)

    def draw(self, ids: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = self.training.batch_size, self.config.context_length
        return get_batch(ids, *size, starts=starts, generator=self.generator)

    def loss(self, model: GPT, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """What is made small."""
        return model(x, y)[1]

    @torch.no_grad()
    def evaluate(self, model: GPT) -> float:
        """The validation loss as this program measures it."""
        key = self.lab.validation
        with evaluating(model):
            return self.loss(model, key.idx, key.targets).item()


def leaky(**methods):
    """A model whose attention layers have other methods, by their names."""
    attention = type("Leaky", (CausalSelfAttention,), methods)

    def build(self) -> GPT:
        model = GPT(self.config)
        for block in model.blocks:
            block.attention.__class__ = attention
        return model

    return build


def see_everything(self, x):
    B, T, C = x.size()
    out = F.scaled_dot_product_attention(*self.split_heads(x))  # is_causal is missing
    return self.project(out.transpose(1, 2).reshape(B, T, C))


def weights_of_everything(self, x):
    q, k, _ = self.split_heads(x)
    return attention_weights(q, k)  # the mask is missing here, too


def no_transpose(self, x):
    B, T, C = x.size()
    parts = self.qkv(x).split(C, dim=-1)
    return [part.reshape(B, self.n_head, T, C // self.n_head) for part in parts]


class NoMask(Healthy):
    model = leaky(forward=see_everything, weights=weights_of_everything)


class WrongReshape(Healthy):
    model = leaky(split_heads=no_transpose)


class NoShift(Healthy):
    """The targets are the inputs."""

    def loss(self, model, x, y):
        return model(x, x.where(y != IGNORED_TARGET, IGNORED_TARGET))[1]


class SoftmaxTwice(Healthy):
    """Probabilities where cross-entropy expects logits."""

    def loss(self, model, x, y):
        return next_token_loss(model(x)[0].softmax(dim=-1), y)


class LrHigh(Healthy):
    training = replace(Healthy.training, lr=10 * Healthy.training.lr)


class LrLow(Healthy):
    training = replace(Healthy.training, lr=Healthy.training.lr / 30)


class NoZeroGrad(Healthy):
    def optimizer(self, model):
        optimizer = super().optimizer(model)
        optimizer.zero_grad = lambda: None
        return optimizer


class EvalInTrainMode(Healthy):
    """Dropout, and it stays switched on while the model is evaluated."""

    config = replace(CONFIG, dropout=0.2)

    @torch.no_grad()
    def evaluate(self, model):
        key = self.lab.validation
        return self.loss(model, key.idx, key.targets).item()


def without_positions(model: GPT) -> GPT:
    """The model with a table of positions that is 0 and stays so."""
    model.position_embedding.weight.data.zero_()
    model.position_embedding.requires_grad_(False)
    return model


class NoPositions(Healthy):
    def model(self):
        return without_positions(super().model())


class FrozenBlocks(Healthy):
    """The optimiser was given the tables and not the blocks."""

    def optimizer(self, model):
        tables = [model.token_embedding.weight, model.position_embedding.weight]
        return torch.optim.AdamW(tables, lr=self.training.lr, betas=self.training.betas)


class LostOptimizer(Healthy):
    """The model was built anew after the optimiser had been given the old one."""

    def optimizer(self, model):
        return make_optimizer(self.model(), self.training)


class OneBatch(Healthy):
    """The generator is seeded inside the loop."""

    def batch(self, step):
        self.generator.manual_seed(self.training.seed)
        return super().batch(step)


class Sorted(Healthy):
    """Stories in alphabetical order, not shuffled; none of validation or exam, whose seeds are
    1 and 2.
    """

    def __init__(self, lab, seed):
        super().__init__(lab, seed)
        n = self.training.steps * self.training.batch_size
        texts = sorted(story.text for story in corpus.stories(n + 1, seed=100 + seed))
        self.sorted_ids = encode(lab.tokenizer, corpus.END.join(texts))
        self.in_order = story_starts(self.sorted_ids, lab.tokenizer, self.config.context_length)

    def batch(self, step):
        first = (step - 1) * self.training.batch_size
        rows = self.in_order[first : first + self.training.batch_size]  # (B)
        places = rows[:, None] + torch.arange(self.config.context_length)  # (B, T)
        return self.sorted_ids[places], self.sorted_ids[places + 1]


class Outlier(Healthy):
    """No clipping, and one batch of garbage in the middle of the run."""

    training = replace(Healthy.training, grad_clip=None)

    def batch(self, step):
        x, y = super().batch(step)
        if step != self.training.steps // 2 + few(5, 0):
            return x, y
        garbage = torch.randint(CONFIG.vocab_size, x.shape, generator=self.generator)
        return garbage, garbage


class BigStart(Healthy):
    """The token table begins as nn.Embedding would have it, with numbers of size 1."""

    def model(self):
        model = super().model()
        model.token_embedding.weight.data *= 50
        return model


class ValidationLeak(Healthy):
    """The validation stories are the training text."""

    def __init__(self, lab, seed):
        super().__init__(lab, seed)
        self.few = encode(lab.tokenizer, lab.validation.text)
        self.few_starts = story_starts(self.few, lab.tokenizer, self.config.context_length)

    def batch(self, step):
        return self.draw(self.few, self.few_starts)


def descent(lr: float, momentum: float) -> type[Healthy]:
    """Gradient descent in the place of AdamW, with a memory of earlier gradients or without."""

    class Descent(Healthy):
        training = replace(Healthy.training, lr=lr)

        def optimizer(self, model):
            return torch.optim.SGD(model.parameters(), lr, momentum=momentum)

    return Descent


RATES = {"sgd": (0.3, 1.0, 3.0, 10.0), "momentum": (0.1, 0.3, 1.0, 3.0)}

RUNS_OF_THE_LAB = {
    "healthy": Healthy,
    # the riddles
    "no_mask": NoMask,
    "no_shift": NoShift,
    "lr_high": LrHigh,
    "lr_low": LrLow,
    "no_zero_grad": NoZeroGrad,
    "softmax_twice": SoftmaxTwice,
    "eval_in_train_mode": EvalInTrainMode,
    "wrong_reshape": WrongReshape,
    "no_positions": NoPositions,
    "frozen_blocks": FrozenBlocks,
    "lost_optimizer": LostOptimizer,
    "one_batch": OneBatch,
    "sorted": Sorted,
    "outlier": Outlier,
    "big_start": BigStart,
    "validation_leak": ValidationLeak,
    # other optimisers, each at several rates
    **{f"sgd {lr:g}": descent(lr, 0.0) for lr in RATES["sgd"]},
    **{f"momentum {lr:g}": descent(lr, 0.9) for lr in RATES["momentum"]},
}

# In this order the chapter asks for a diagnosis. Without positions nothing is to be seen: these
# windows are too short for it.
RIDDLES = [
    "lr_low",
    "one_batch",
    "no_shift",
    "lost_optimizer",
    "softmax_twice",
    "no_mask",
    "big_start",
    "no_zero_grad",
    "eval_in_train_mode",
    "lr_high",
    "frozen_blocks",
    "sorted",
    "validation_leak",
    "outlier",
    "wrong_reshape",
]


def groups(model: GPT) -> dict[str, list[torch.Tensor]]:
    """The weights whose updates are watched: the token table, and the blocks' matrices."""
    blocks = [p for p in model.blocks.parameters() if p.dim() == 2]
    return {"table": [model.token_embedding.weight], "blocks": blocks}


def lengths(weights: list[torch.Tensor], before: list[torch.Tensor]) -> float:
    """Length of the change over the length of the weights."""
    change = math.hypot(*((w - b).norm().item() for w, b in zip(weights, before, strict=True)))
    return change / math.hypot(*(b.norm().item() for b in before))


class Measured(nn.Module):
    """A model whose loss is the trial's."""

    def __init__(self, model: GPT, trial: Healthy) -> None:
        super().__init__()
        self.model, self.trial = model, trial

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, self.trial.loss(self.model, x, y)


class TrialRun(Run):
    """The course's training run with the trial's batches, loss and optimiser."""

    def __init__(self, trial: Healthy, model: GPT) -> None:
        super().__init__(Measured(model, trial), trial.lab.ids, trial.training)
        self.trial, self.optimizer = trial, trial.optimizer(model)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.trial.batch(self.step)


def run(kind: type[Healthy], lab: Lab, seed: int) -> dict:
    """One short run, watched."""
    trial, every = kind(lab, seed), few(EVERY, 1)
    torch.manual_seed(trial.training.seed)
    model = trial.model()
    start = trial.evaluate(model)
    training = TrialRun(trial, model)
    curve = {name: [] for name in ("train", "val", "grad_norm", "table", "blocks")}
    latest, watched = [], groups(model)
    for step in range(1, trial.training.steps + 1):
        looking = step % every == 0
        before = {n: [w.detach().clone() for w in ws] for n, ws in watched.items() if looking}
        latest.append(training.update())
        if looking:
            for name, part in (("train", "loss"), ("grad_norm", "grad_norm")):
                curve[name].append(sum(metrics[part] for metrics in latest) / every)
            curve["val"].append(trial.evaluate(model))
            for name in watched:
                curve[name].append(lengths([w.detach() for w in watched[name]], before[name]))
            latest.clear()
    with torch.no_grad(), evaluating(model):
        exam_loss = model(lab.exam.idx, lab.exam.targets)[1].item()
    return {"start": start, **curve, "exam": exam_loss, "says": says(model, lab)}


def says(model: GPT, lab: Lab) -> str:
    """How the model goes on, greedily, with the beginning of an exam story."""
    idx = lab.exam.idx[:1, : BEGIN + 1]  # (1, T)
    written = generate(model, idx, CONFIG.context_length - idx.size(1), temperature=0)
    return lab.tokenizer.decode(written[0, idx.size(1) :].tolist())


def said(result: dict) -> str:
    """Where a run ended: losses, gradient, update, exam."""
    last = [result[part][-1] for part in ("train", "val", "grad_norm", "blocks")]
    return " ".join(f"{value:.3g}" for value in [*last, result["exam"]])


def main() -> None:
    fewer = {"type": int, "default": len(SEEDS), "help": "only the first so many"}
    args = arguments("symptoms", __doc__, RUNS_OF_THE_LAB, seeds=fewer)
    lab = Lab()
    record = begin(args) | {
        "steps": Healthy(lab, seed=0).training.steps,
        "every": few(EVERY, 1),
        "floor": lab.validation.floor,
        "exam_floor": lab.exam.floor,
        "begin": lab.tokenizer.decode(lab.exam.idx[0, 1 : BEGIN + 1].tolist()),
        "riddles": RIDDLES,
        "rates": {name: list(rates) for name, rates in RATES.items()},
    }
    jobs = {
        ("runs", name, str(seed)): partial(run, RUNS_OF_THE_LAB[name], lab, seed)
        for seed in SEEDS[: args.seeds]
        for name in args.names or RUNS_OF_THE_LAB
    }
    units = "losses: nats per token; table, blocks: length of an update over the weights'"
    fill(args, record, jobs, said, units=units)


if __name__ == "__main__":
    main()
