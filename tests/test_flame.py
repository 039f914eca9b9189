"""The clocks at the doors of a model's parts."""

from __future__ import annotations

import pytest
import torch

from gptlib import flame
from gptlib.flame import Clock, Span, by_kind, clocked, self_seconds, time_step
from gptlib.gpt import GPT, GPTConfig
from gptlib.training import TrainConfig, make_optimizer

CONFIG = GPTConfig(vocab_size=11, context_length=8, n_layer=2, n_head=2, n_embd=8)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that is one second later each time it is looked at."""
    now = iter(range(10_000))
    monkeypatch.setattr(flame.time, "perf_counter", lambda: float(next(now)))


def step(model):
    idx = torch.randint(11, (2, 8), generator=torch.Generator().manual_seed(0))
    return time_step(model, make_optimizer(model, TrainConfig()), idx, idx)


def test_every_part_is_entered_and_left_once(ticking):
    model = GPT(CONFIG)
    spans = step(model)
    names = [span.name for span in spans if span.depth > 0]
    parts = [path or "model" for path, part in model.named_modules() if "mask" not in path]
    used = set(names) - {"model"}
    assert names.count("model") == 1 and used <= set(parts)
    assert {"blocks.0", "blocks.1.attention.qkv", "blocks.0.feed_forward.gelu", "head"} <= used
    assert len(names) == len(set(names))
    assert [s.name for s in spans if s.depth == 0] == ["forward", "backward", "clip", "optimizer"]


def test_spans_stand_inside_one_another(ticking):
    spans = {span.name: span for span in step(GPT(CONFIG))}
    inner, outer = spans["blocks.0.attention"], spans["blocks.0"]
    assert outer.began < inner.began < inner.ended < outer.ended
    assert inner.depth == outer.depth + 1 == spans["model"].depth + 2
    assert spans["blocks.0"].ended < spans["blocks.1"].began


def test_own_time_adds_up_to_the_whole(ticking):
    spans = step(GPT(CONFIG))
    whole = sum(span.seconds for span in spans if span.depth == 0)
    assert sum(self_seconds(spans).values()) == pytest.approx(whole)
    kinds = by_kind(GPT(CONFIG), spans)
    assert sum(kinds.values()) == pytest.approx(whole)
    assert {"Linear", "LayerNorm", "GELU", "CausalSelfAttention", "backward"} <= set(kinds)


def test_the_step_is_a_step_of_training():
    """The same weights afterwards as by hand: the clocks change nothing."""
    models = []
    for timed in (True, False):
        torch.manual_seed(0)
        model = GPT(CONFIG)
        if timed:
            step(model)
        else:
            optimizer = make_optimizer(model, TrainConfig())
            idx = torch.randint(11, (2, 8), generator=torch.Generator().manual_seed(0))
            model(idx, idx)[1].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        models.append(model)
    assert all(p.grad is None for p in models[0].parameters())  # ready for the next step
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_clocks_are_gone_afterwards_even_where_the_model_fails():
    model, clock = GPT(CONFIG), Clock()
    with pytest.raises(ValueError, match="idx"), clocked(model, clock):
        model(torch.zeros(1, 99, dtype=torch.long))
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in model.modules())
    assert clock.spans == []


def test_a_span_that_was_left_by_an_error_ends_with_the_one_around_it(ticking):
    clock = Clock()
    with clock.span("whole"):
        clock.enter("part")  # and an error: it is never left
    assert [(span.name, span.depth) for span in clock.spans] == [("part", 1), ("whole", 0)]


def test_time_inside_is_not_counted_twice():
    spans = [Span("a", 0, 0, 10), Span("b", 1, 1, 4), Span("c", 2, 2, 3), Span("b", 1, 5, 6)]
    assert self_seconds(spans) == {"a": 6, "b": 3, "c": 1}
    spans = [Span("a", 0, 0, 4), Span("b", 1, 2, 4), Span("a", 0, 4, 5)]  # at one tick
    assert self_seconds(spans) == {"a": 3, "b": 2}
