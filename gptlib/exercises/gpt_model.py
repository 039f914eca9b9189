"""Exercise of chapter 6: the whole GPT as a class."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.block import TransformerBlock
from gptlib.exercises import gpt_forms as form
from gptlib.exercises.gpt_forms import (
    MakeGPT,
    changed,
    finish,
    gpts,
    stream,
    through,
    with_counts,
    with_logits,
    with_loss,
)
from gptlib.exercises.task import Mistake, Task
from gptlib.gpt import GPT, GPTConfig, init_gpt2, waves
from gptlib.layers import LayerNorm
from gptlib.loss import next_token_loss


class Written(nn.Module):
    """The GPT in other words."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        V, T, C, bias = config.vocab_size, config.context_length, config.n_embd, config.bias
        self.head = nn.Linear(C, V, bias=False)
        self.token_embedding = nn.Embedding(V, C)
        self.position_embedding = nn.Embedding(T, C)
        if config.tied:
            self.token_embedding.weight = self.head.weight
        block = (C, config.n_head, T, config.dropout, bias, config.qkv_bias)
        self.blocks = nn.Sequential(
            *(TransformerBlock(*block, gelu=config.gelu) for _ in range(config.n_layer))
        )
        self.final_norm = nn.LayerNorm(C, bias=bias)
        if config.init == "gpt2":
            init_gpt2(self)  # type: ignore[arg-type]
        elif config.tied:
            nn.init.normal_(self.head.weight)
        if config.waves:
            self.position_embedding.weight = nn.Parameter(0.08 * waves(T, C))

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> Any:
        x = self.token_embedding(idx) + self.position_embedding.weight[: idx.shape[1]]
        x = self.blocks(F.dropout(x, self.config.dropout, self.training))
        logits = self.head(self.final_norm(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.mT, targets, ignore_index=-1)

    def num_parameters(self, embeddings: bool = True) -> int:
        tables = ("token_embedding.weight", "position_embedding.weight", "head.weight")
        return sum(
            p.numel() for name, p in self.named_parameters() if embeddings or name not in tables
        )


class Looped(Written):
    """And once more."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        self.blocks = nn.ModuleList(self.blocks)  # type: ignore[assignment]
        self.final_norm = LayerNorm(config.n_embd, config.bias)  # type: ignore[assignment]
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> Any:
        logits = finish(self, stream(self, idx))
        loss = None
        if targets is not None:
            chosen = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
            loss = -chosen[targets >= 0].mean()
        return logits, loss


GPT_MODEL = Task(
    name="gpt.GPT",
    asks="Put the GPT together from a configuration: two tables, blocks, a norm, a head.",
    reference=GPT,
    inputs=gpts,
    use=MakeGPT(),
    anywhere=True,
    hints=(
        "Walk the one line of the chapter: ids, two tables, blocks, a norm, a table, logits. Which "
        "of these have parameters, and which shape has each?",
        "The positions are torch.arange(T) of the text at hand, on the device of idx; what the "
        "tables give is added, goes through dropout, through each block in turn, the norm, the "
        "head. Tying is one assignment of a weight.",
        "x = self.dropout(self.token_embedding(idx) + self.position_embedding(torch.arange("
        "idx.size(1), device=idx.device))); for block in self.blocks: x = block(x); logits = "
        "self.head(self.final_norm(x)). In __init__, last: self.head.weight = "
        "self.token_embedding.weight if tied, then init_gpt2(self), then 0.08 * waves(T, C) copied "
        "into the positions' weight.data, each if the configuration says so.",
    ),
    mistakes=(
        Mistake(
            "A tied table is counted twice.",
            with_counts(
                lambda m, all: (
                    GPT.num_parameters(m, all) + all * m.config.tied * m.head.weight.numel()
                )
            ),
        ),
        Mistake(
            "The head has a table of its own, or a copy, where it should be tied: after one step "
            "the two would differ. Tied means one table with two names.",
            changed(tied=False),
        ),
        Mistake(
            "The head is tied where the configuration says that it has a table of its own.",
            changed(tied=True),
        ),
        Mistake(
            "Dropout does not act on the sum of the two tables.",
            with_logits(lambda m, idx: finish(m, m.dropout.eval()(stream(m, idx)))),
        ),
        Mistake(
            "The places are missing: the model is told what was read, and not where.",
            with_logits(lambda m, idx: finish(m, m.dropout(m.token_embedding(idx)))),
        ),
        Mistake(
            "The places are counted over the texts of the batch, and not along a text: alone, a "
            "text has place 0 everywhere.",
            with_logits(form.lost),
        ),
        Mistake(
            "The place table is asked for the ids. It is to be asked for 0, 1, 2, and so on.",
            with_logits(
                lambda m, idx: finish(
                    m, m.dropout(m.token_embedding(idx) + m.position_embedding(idx))
                )
            ),
        ),
        Mistake(
            "The last norm is missing: the head gets the stream at whatever size it has grown to.",
            with_logits(lambda m, idx: m.head(through(m, stream(m, idx)))),
        ),
        Mistake(
            "The last norm stands before the blocks. It belongs between them and the head.",
            with_logits(lambda m, idx: m.head(through(m, m.final_norm(stream(m, idx))))),
        ),
        Mistake(
            "No block is used.",
            with_logits(lambda m, idx: m.head(m.final_norm(stream(m, idx)))),
        ),
        Mistake(
            "Each block reads what the tables gave: of all blocks the last alone is heard.",
            with_logits(form.each_from_the_tables),
        ),
        Mistake(
            "There is a way around each block once more. A block holds its ways around already.",
            with_logits(form.doubled),
        ),
        Mistake(
            "A softmax stands before the loss, which takes one itself: even a sure model could not "
            "come near 0.",
            with_loss(lambda z, y: next_token_loss(z.softmax(dim=-1), y)),
        ),
        Mistake(
            "These are probabilities: logits are asked for. The loss would take a second softmax.",
            with_logits(lambda m, idx: finish(m, stream(m, idx)).softmax(dim=-1)),
        ),
        Mistake(
            "There are logits for the last place alone. Every place is trained.",
            with_logits(lambda m, idx: finish(m, stream(m, idx))[:, -1]),
        ),
        Mistake(
            "The targets are moved on once more inside the model: here they come moved on already.",
            with_loss(form.shifted),
        ),
        Mistake(
            "The loss is a sum over all places, so it grows with the batch. The mean is asked for.",
            with_loss(lambda z, y: next_token_loss(z, y) * (y >= 0).sum()),
        ),
        Mistake(
            "Rows of logits meet the targets of other places: the axes of batch and time were "
            "exchanged on one side.",
            with_loss(form.rows),
        ),
        Mistake(
            "A target of -1 says that a place is not scored. Here it counts, with loss 0.",
            with_loss(lambda z, y: next_token_loss(z, y) * (y >= 0).float().mean()),
        ),
        Mistake(
            "The loss is right, and no gradient comes back from it: item, detach or no_grad makes "
            "it a number that nothing can learn from.",
            with_loss(lambda z, y: next_token_loss(z, y).detach()),
        ),
        Mistake(
            "The loss is right, and the tables get no gradient: the way back ends before the "
            "blocks, at detach, no_grad or .data. They would stay as they were drawn.",
            with_logits(lambda m, idx: finish(m, stream(m, idx).detach())),
        ),
        Mistake(
            "The loss is right, and the last block alone learns: each block is handed its input "
            "cut off, by detach or .data.",
            with_logits(form.blocks_apart),
        ),
        Mistake("The form of GELU does not reach the blocks.", changed(gelu="tanh")),
        Mistake(
            "embeddings=False counts the tables all the same.",
            with_counts(lambda m, all: GPT.num_parameters(m)),
        ),
        Mistake(
            "embeddings=False leaves the last norm out; it is neither table nor head.",
            with_counts(lambda m, all: GPT.num_parameters(m) if all else form.inside(m)),
        ),
        Mistake(
            "embeddings=False still counts the places.",
            with_counts(
                lambda m, all: (
                    GPT.num_parameters(m, all) + (not all) * m.position_embedding.weight.numel()
                )
            ),
        ),
        Mistake(
            'init="gpt2" changes nothing: the numbers are as large as PyTorch makes them.',
            changed(init="torch"),
        ),
        Mistake(
            'GPT-2\'s numbers come with init="torch", too, which asks for those of the layers.',
            changed(init="gpt2"),
        ),
        Mistake(
            "The places do not begin as waves, or init_gpt2 has drawn over them.",
            changed(waves=False),
        ),
        Mistake("The places begin as waves although `waves` is False.", changed(waves=True)),
        Mistake(
            "The waves are 1 high: beside tokens of 0.02 they drown what was read.", form.HighWaves
        ),
    ),
    right=(Written, Looped),
)

TASKS = (GPT_MODEL,)
