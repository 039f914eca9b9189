"""What the exercise of the whole GPT looks at, and other ways of writing one, right and wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.exercises.comparing import shown
from gptlib.exercises.gpt_start import rough_size
from gptlib.exercises.modules import in_a_list, weights_of
from gptlib.exercises.task import Use, Wrong
from gptlib.gpt import GPT, GPTConfig, waves
from gptlib.loss import next_token_loss

Tensor = torch.Tensor

# One thing is looked at in each input, so that what is said stays short.
LOOKS = {
    "tied": "model.head.weight is model.token_embedding.weight",
    "logits": "model({idx})[0]",
    "loss": "model({idx}, {targets})[1]",
    "slopes": "the gradients after model({idx}, {targets})[1].backward()",
    "counts": "model.num_parameters(), model.num_parameters(embeddings=False)",
    "start": "the sizes of the first numbers",
}


class MakeGPT(Use):
    """A GPT of a configuration, looked at in one respect."""

    def run(self, answer: Any, *given: Any) -> Any:
        look, config, seed, idx, targets = given
        if idx.is_meta:
            model = answer(config).to("meta")
            model.position_embedding.register_forward_pre_hook(_same_device)
            with suppress(_Fine):
                model(idx)
            return idx
        if look == "start" or config.dropout:
            torch.manual_seed(0)
        weighed = look not in ("tied", "start")
        model = self.filled(answer(config), numbers_of(config, seed)) if weighed else answer(config)
        if look == "tied":
            return model.head.weight is model.token_embedding.weight
        if look == "counts":
            return model.num_parameters(), model.num_parameters(embeddings=False)
        if look == "start":
            return {
                "tokens": rough_size(model.token_embedding.weight),
                "places": _places(model.position_embedding.weight),
                "block 0, attention's projection": rough_size(
                    model.blocks[0].attention.project.weight
                ),
            }
        out = model(idx) if look == "logits" else model(idx, targets)
        if not isinstance(out, tuple) or len(out) != 2:
            raise Wrong("forward gives two things, the logits and the loss: return logits, loss.")
        if look == "logits" and out[1] is not None:
            raise Wrong("Without targets there is no loss: its place holds None.")
        if look == "loss" and out[1] is None:
            raise Wrong("With targets the loss is a number; it is None.")
        if look == "slopes":
            return gradients(model, out[1])
        return out[0] if look == "logits" else out[1]

    def filled(self, model: Any, weights: dict[str, Tensor]) -> Any:
        """The model with these numbers. Errors: Wrong where it has not their names or shapes."""
        if not hasattr(model, "config"):
            raise Wrong("It has no `config`: keep it, self.config = config; others will ask it.")
        # Both names of a tied table: whichever of the two was built first is the one that counts.
        own: dict[str, nn.Parameter] = dict(model.named_parameters(remove_duplicate=False))
        missing = weights.keys() - own.keys()
        if missing and (hidden := in_a_list(model)):
            raise Wrong(hidden)
        if missing:
            raise Wrong(f"It has no parameter {min(missing)}: what is it called in yours?")
        if extra := model.state_dict().keys() - weights.keys() - {"head.weight"}:
            raise Wrong(f"It saves {min(extra)}, which a GPT of this configuration has not got.")
        for name, numbers in weights.items():
            if own[name].shape != numbers.shape:
                raise Wrong(
                    f"{name} has the shape {tuple(own[name].shape)}; it should be "
                    f"{tuple(numbers.shape)}."
                )
            own[name].data.copy_(numbers)
        return model

    def shown(self, name: str, *given: Any) -> str:
        look, config, _, idx, targets = given
        call = LOOKS[look].format(idx=shown(idx), targets=shown(targets))
        return f"{call} of model = {name}({shown(config)})"


def gradients(model: nn.Module, loss: Any) -> dict[str, Tensor]:
    """The gradient of each parameter, zeros where none comes back; the tables' are the last."""
    if torch.is_tensor(loss) and loss.requires_grad:
        loss.backward()
    own = reversed(list(model.named_parameters()))
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in own}


class _Fine(Exception):
    """The places have come to their table, and on the right device: the rest makes no tensors."""


def _same_device(table: nn.Module, given: tuple[Tensor, ...]) -> None:
    """A table without numbers takes places from anywhere; on a GPU it would not."""
    if given[0].is_meta:
        raise _Fine
    raise RuntimeError(f"the places are on the {given[0].device.type}, the ids elsewhere")


def _places(table: Tensor) -> str | float:
    """How a table of positions begins: as waves, or of which size."""
    wave = waves(*table.shape)
    for high in (0.08, 1.0):
        if torch.allclose(table, high * wave, atol=1e-5):
            return f"waves, {high} high"
    return rough_size(table)


@cache
def numbers_of(config: GPTConfig, seed: int) -> dict[str, Tensor]:
    """Numbers for each parameter of a GPT. They are drawn once: many answers are given them."""
    return weights_of(GPT, {"config": config}, seed)


def gpts(seed: int) -> Iterator[tuple[Any, ...]]:
    """The head, the logits of one text and of two, the loss, the counts, the start, dropout."""
    draw = torch.Generator().manual_seed(seed)
    small = {"vocab_size": 3, "context_length": 5, "n_layer": 1, "n_head": 2, "n_embd": 4}

    def given(look: str, B: int = 1, T: int = 3, **changes: Any) -> tuple[Any, ...]:
        config = GPTConfig(**{**small, **changes})
        idx, targets = torch.randint(config.vocab_size, (2, B, T), generator=draw)
        idx[0, :2] = torch.tensor([1, 0])  # two tokens that are not the same
        targets[0, 0] = (idx[0, 1] + 1) % config.vocab_size
        if B > 1:
            targets[1, 0] = -1
        return look, config, seed, idx, targets

    yield given("tied")
    yield given("logits", n_layer=2)
    yield given("logits", 2, 4, n_layer=3)
    yield given("tied", tied=False)
    yield given("logits", tied=False)
    yield given("loss")
    yield given("loss", 2, 3)
    yield given("slopes", 2, 3, n_layer=2, tied=False)
    yield given("logits", 2, 5, gelu="none", bias=False, n_embd=16)
    yield given("logits", qkv_bias=False)
    yield given("counts")
    yield given("counts", tied=False, bias=False)
    wide = {"n_embd": 64, "vocab_size": 64, "context_length": 64}
    yield given("start", n_layer=2, **wide)
    yield given("start", **wide, init="torch")
    yield given("start", **wide, waves=True)
    yield given("logits", dropout=0.999999)  # all is dropped that can be


def stream(model: Any, idx: Tensor) -> Tensor:
    """What goes into the first block: (B, T) -> (B, T, C)."""
    places = torch.arange(idx.size(1), device=idx.device)
    x: Tensor = model.dropout(model.token_embedding(idx) + model.position_embedding(places))
    return x


def through(model: Any, x: Tensor) -> Tensor:
    """What comes out of the last block."""
    for block in model.blocks:
        x = block(x)
    return x


def with_logits(way: Callable[[Any, Tensor], Tensor]) -> type[GPT]:
    """The GPT with another way from ids to logits."""

    class Other(GPT):
        def forward(self, idx: Tensor, targets: Tensor | None = None) -> Any:
            logits = way(self, idx)
            return logits, None if targets is None else next_token_loss(logits, targets)

    return Other


def with_loss(way: Callable[[Tensor, Tensor], Tensor]) -> type[GPT]:
    """The GPT with another loss."""

    class Other(GPT):
        def forward(self, idx: Tensor, targets: Tensor | None = None) -> Any:
            logits, _ = super().forward(idx)
            return logits, None if targets is None else way(logits, targets)

    return Other


def with_counts(way: Callable[[Any, bool], int]) -> type[GPT]:
    """The GPT with another count."""

    class Other(GPT):
        def num_parameters(self, embeddings: bool = True) -> int:
            return way(self, embeddings)

    return Other


def changed(**changes: Any) -> type[GPT]:
    """The GPT that builds itself as if the configuration said something else."""

    class Other(GPT):
        def __init__(self, config: GPTConfig):
            super().__init__(GPTConfig(**{**vars(config), **changes}))
            self.config = config

    return Other


class HighWaves(GPT):
    """Waves of size 1, not 0.08."""

    def __init__(self, config: GPTConfig):
        super().__init__(config)
        if config.waves:
            self.position_embedding.weight.data /= 0.08


def each_from_the_tables(model: Any, idx: Tensor) -> Tensor:
    """Each block reads the tables, and none the block before it."""
    x = stream(model, idx)
    for block in model.blocks:
        h = block(x)
    return model.head(model.final_norm(h))


def doubled(model: Any, idx: Tensor) -> Tensor:
    """A second shortcut around each block."""
    x = stream(model, idx)
    for block in model.blocks:
        x = x + block(x)
    return model.head(model.final_norm(x))


def blocks_apart(model: Any, idx: Tensor) -> Tensor:
    """No gradient from a block to the one before it."""
    x = stream(model, idx)
    for block in model.blocks:
        x = block(x.detach())
    return model.head(model.final_norm(x))


def finish(model: Any, x: Tensor) -> Tensor:
    """The rest of the way: blocks, norm, head."""
    return model.head(model.final_norm(through(model, x)))


def lost(model: Any, idx: Tensor) -> Tensor:
    """Places counted over the texts, not over the tokens."""
    places = model.position_embedding(torch.arange(idx.size(0)))
    return finish(model, model.dropout(model.token_embedding(idx) + places))


def rows(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits in another order than their targets."""
    turned = logits.transpose(0, 1).reshape(-1, logits.size(-1))
    return F.cross_entropy(turned, targets.reshape(-1), ignore_index=-1)


def shifted(logits: Tensor, targets: Tensor) -> Tensor:
    """Targets moved on a second time."""
    return next_token_loss(logits[:, :-1].contiguous(), targets[:, 1:].contiguous())


def inside(model: Any) -> int:
    """The parameters of the blocks alone."""
    return sum(p.numel() for p in model.blocks.parameters())
