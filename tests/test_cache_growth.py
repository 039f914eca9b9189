"""What the page says of a KV cache, beside what gptlib.counts says."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from scripts import run_script
from traitlets import TraitError

from gptlib.counts import cache_bytes, count_parameters, forward_flops
from gptlib.gpt import GPT, PRESETS, GPTConfig
from gptlib.modern import MODERN_PRESETS, ModernConfig
from gptlib.widgets import CacheGrowth
from gptlib.widgets.cache_growth import shape_of

COUNTED = """
const script = await module("caching.js");
return given.map(([shape, n, size]) => [
    script.cacheBytes(shape, n, size), script.parametersOfShape(shape),
    ...script.numbersRead(shape, n), ...script.nextOperations(shape, n),
    ...script.textOperations(shape, n)].map(String));
"""


def classic(rng: random.Random) -> GPTConfig:
    n_head = rng.choice([1, 2, 3, 5, 25])
    return GPTConfig(
        vocab_size=rng.randrange(1, 200_000),
        context_length=rng.randrange(1, 9000),
        n_layer=rng.randrange(1, 100),
        n_head=n_head,
        n_embd=n_head * rng.randrange(1, 200),
        bias=rng.random() < 0.5,
        qkv_bias=rng.choice([None, True, False]),
        tied=rng.random() < 0.5,
        norm=rng.choice(["pre", "post"]),
    )


def modern(rng: random.Random) -> ModernConfig:
    n_kv_head, n_expert = rng.choice([1, 2, 3, 8]), rng.choice([1, 1, 4, 33])
    return ModernConfig(
        vocab_size=rng.randrange(1, 200_000),
        context_length=rng.randrange(1, 9000),
        n_layer=rng.randrange(1, 50),
        n_head=n_kv_head * rng.choice([1, 2, 7, 8]),
        n_kv_head=n_kv_head,
        n_embd=rng.randrange(1, 5000),
        head_size=2 * rng.randrange(1, 130),
        hidden=rng.randrange(1, 9000),
        bias=rng.random() < 0.5,
        tied=rng.random() < 0.5,
        norm=rng.choice(["pre", "sandwich"]),
        qk_norm=rng.random() < 0.5,
        window=rng.choice([None, rng.randrange(1, 200)]),
        full_every=rng.choice([None, 1, 2, 3, 60]),
        sinks=rng.random() < 0.5,
        n_expert=n_expert,
        n_active=rng.randrange(1, n_expert + 1),
    )


def regrouped(config: ModernConfig, rng: random.Random) -> ModernConfig:
    """Other key/value heads and another window, as the reader may choose them."""
    heads = [k for k in range(1, config.n_head + 1) if config.n_head % k == 0]
    window = rng.choice([None, rng.randrange(1, 200)])
    return replace(config, n_kv_head=rng.choice(heads), window=window)


def counted(config, n: int, size: int) -> list[str]:
    """The same eight numbers by gptlib.counts, its sums added up one by one."""
    numbers = [cache_bytes(config, m, 1) for m in range(1, n + 1)]
    operations = [forward_flops(config, m) for m in range(1, n + 1)]
    so_far = [sum(operations[: m + 1]) for m in range(n)]
    found = [
        cache_bytes(config, n, size), count_parameters(config),
        numbers[-1], sum(numbers), operations[-1], sum(operations), sum(operations), sum(so_far),
    ]  # fmt: skip
    return [str(number) for number in found]


def test_the_page_counts_a_cache_as_python_does():
    rng = random.Random(0)
    given, wanted = [], []
    presets = [GPTConfig.preset(name) for name in PRESETS]
    for config in presets + [classic(rng) for _ in range(150)]:
        n, size = rng.randrange(1, 300), rng.choice([1, 2, 4])
        given.append([shape_of(config) | {"n_kv_head": config.n_head}, n, size])
        wanted.append(counted(config, n, size))
    more = [ModernConfig.preset(name) for name in MODERN_PRESETS]
    for config in more + [modern(rng) for _ in range(250)]:
        n, size, now = rng.randrange(1, 300), rng.choice([1, 2, 4]), regrouped(config, rng)
        shape = shape_of(config) | {"n_kv_head": now.n_kv_head, "window": now.window or 0}
        given.append([shape, n, size])
        wanted.append(counted(now, n, size))
    assert run_script(COUNTED, given) == wanted
    assert len(wanted) > 400


def test_sums_of_a_long_text_keep_all_their_digits():
    config = ModernConfig.preset("gpt-oss-20b")
    [found] = run_script(COUNTED, [[shape_of(config) | {"n_kv_head": 8}, 131_072, 2]])
    assert found[:2] == ["3224371200", "20914757184"]
    whole = sum((131_072 - m + 1) * forward_flops(config, m) for m in range(1, 131_073))
    assert found[-1] == str(whole) and whole > 2**64


@pytest.mark.parametrize("longest", [1, 2, 3, 100, 1024, 131_072])
def test_the_slider_s_stops_begin_at_one_and_end_at_the_context(longest):
    stops = run_script("return (await module('caching.js')).doublings(given)", longest)
    assert stops[0] == 1 and stops[-1] == longest and sorted(set(stops)) == stops


def test_a_face_says_what_python_counts():
    rng = random.Random(1)
    for _ in range(60):
        config = modern(rng)
        now, n = regrouped(config, rng), rng.randrange(1, 9000)
        widget = CacheGrowth(config)
        widget.n_kv_head, widget.window, widget.bytes_per_value = now.n_kv_head, now.window or 0, 4
        wanted = {"cache": cache_bytes(now, n, 4), "weights": 4 * count_parameters(now)}
        assert widget.costs(n) == wanted
    config = classic(rng)
    assert CacheGrowth(config).costs()["cache"] == cache_bytes(config, config.context_length)
    assert CacheGrowth(config).costs()["weights"] == 2 * count_parameters(config)


def test_another_model_brings_its_own_heads_and_window():
    widget = CacheGrowth(shown=1, n_kv_head=1, n_tokens=4096)
    assert (widget.n_kv_head, widget.window) == (1, 0)  # what is asked for at the start holds
    widget.shown = 2
    assert (widget.n_kv_head, widget.window, widget.full_every) == (8, 128, 2)
    assert widget.n_tokens == 4096 and "GPT-OSS 20B" in widget.words()
    widget.shown = 3
    assert (widget.n_kv_head, widget.window, widget.n_tokens) == (2, 0, 128)


def test_configurations_come_by_name_alone_in_lists_and_out_of_models():
    tiny = GPTConfig(vocab_size=7, context_length=8, n_layer=1, n_head=1, n_embd=8)
    widget = CacheGrowth({"mine": GPT(tiny), "other": "llama3-8b"})
    assert [one["name"] for one in widget.models] == ["mine", "other"]
    assert widget.costs()["weights"] == 2 * count_parameters(tiny)
    assert [one["name"] for one in CacheGrowth([tiny, tiny]).models] == ["the model", "the model 2"]
    assert CacheGrowth(torch.compile(GPT(tiny))).n_tokens == 8
    assert [one["name"] for one in CacheGrowth("stories").models] == ["The book's GPT"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CacheGrowth("gpt-3"), "no preset 'gpt-3'; there are gpt2-small"),
        (lambda: CacheGrowth(5), "a ModernConfig or a model that has one; got int"),
        (lambda: CacheGrowth([]), "a preset's name, a configuration, or several"),
        (lambda: CacheGrowth(n_kv_head=2), "must divide the 25 heads of this model; got 2"),
        (lambda: CacheGrowth(shown=4), "shown must be below 4"),
        (lambda: CacheGrowth(bytes_per_value=3), "must be 4, 2 or 1, not 3"),
        (lambda: CacheGrowth(measure="time"), "measure must be one of keys and values"),
        (lambda: CacheGrowth(windows=3), "no setting 'windows'.* window"),
    ],
)
def test_a_mistake_is_answered_in_words(make, said):
    with pytest.raises((ValueError, TraitError), match=said):
        make()
