"""Training of an entry, under the rules of SPEEDRUN.md, and its exam."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from gptlib.batches import train_val_split
from gptlib.tokenizer import CharTokenizer
from sprint.model import Entry, Sprinter
from sprint.muon import Muon

MOST_PARAMETERS = 810_000


def quicker_dtype() -> torch.dtype:
    """bfloat16 where this machine multiplies it faster than float32, else float32."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(1024, 96, dtype=dtype), torch.ones(96, 384, dtype=dtype)
        times = []
        for _ in range(20):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return min(seconds, key=seconds.__getitem__)


def windows(ids: torch.Tensor, entry: Entry, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Batches (batch, context + 1) without end: the text cut into windows, each once a round.

    Every round begins to cut at another place.
    """
    reach = torch.arange(entry.context + 1)
    while True:
        shift = int(torch.randint(entry.context, (1,), generator=generator))
        count = (len(ids) - 1 - shift) // entry.context
        starts = torch.randperm(count, generator=generator) * entry.context + shift
        for some in starts.split(entry.batch):
            if len(some) == entry.batch:
                yield ids[some[:, None] + reach]


def adam_groups(model: Sprinter) -> list[dict]:
    """The tables and the head, each with its rate: what is no matrix of a block."""
    tables = [model.token_embedding.weight, *model.tables.parameters()]
    rates = ((tables, model.entry.table_lr), ([model.head], model.entry.head_lr))
    return [{"params": parameters, "lr": lr, "full_lr": lr} for parameters, lr in rates]


def train_entry(
    entry: Entry, text: str, seed: int, dtype: torch.dtype
) -> tuple[Sprinter, torch.Tensor, float]:
    """Train from nothing on the first nine tenths: the model, the last tenth's ids, CPU seconds.

    The clock runs from the first look at the text. Errors: ValueError for a model with more than
    MOST_PARAMETERS.
    """
    start = time.process_time()
    tokenizer = CharTokenizer(text)
    ids, held_out = train_val_split(tokenizer.encode(text))
    torch.manual_seed(seed)
    model = Sprinter(entry, tokenizer.vocab_size, dtype)
    if model.num_parameters() > MOST_PARAMETERS:
        raise ValueError(
            f"{entry} has {model.num_parameters():,} parameters: the rules allow "
            f"{MOST_PARAMETERS:,}. Make a table or a width smaller."
        )
    muon = Muon(model.blocks.parameters(), entry.newton_schulz, dtype, entry.momentum)
    adam = torch.optim.AdamW(
        adam_groups(model), betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=True
    )
    batches = windows(ids, entry, torch.Generator().manual_seed(seed))
    for step, batch in zip(range(entry.steps), batches, strict=False):
        _, loss = model(batch[:, :-1], batch[:, 1:])
        loss.backward()
        share = 1 - step / entry.steps
        for group in adam.param_groups:
            group["lr"] = share * group["full_lr"]
        adam.step()
        muon.step(share * entry.muon_lr)
        model.zero_grad(set_to_none=True)
    return model, held_out, time.process_time() - start


@torch.no_grad()
def text_loss(model: torch.nn.Module, ids: torch.Tensor, context: int) -> float:
    """Nats per character over all of ids (N,), in windows side by side: every target once.

    What is left at the end, shorter than a window, is left out.
    """
    count = (len(ids) - 1) // context
    x = ids[: count * context].view(count, context)
    y = ids[1 : count * context + 1].view(count, context)
    total = 0.0
    for some_x, some_y in zip(x.split(64), y.split(64), strict=True):
        total += model(some_x, some_y)[1].item() * some_x.numel()
    return total / (count * context)


@torch.no_grad()
def random_loss(
    model: torch.nn.Module, ids: torch.Tensor, context: int, batches: int = 200, size: int = 12
) -> float:
    """nanoGPT's way: the mean over random windows of ids, batches times size of them."""
    generator = torch.Generator().manual_seed(1)
    reach, total = torch.arange(context + 1), 0.0
    for _ in range(batches):
        starts = torch.randint(len(ids) - context - 1, (size, 1), generator=generator)
        window = ids[starts + reach]
        total += model(window[:, :-1], window[:, 1:])[1].item()
    return total / batches
