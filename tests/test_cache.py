"""The cache: what is written with it is what is written without it, token by token."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gptlib.bigram import BigramModel
from gptlib.cache import Cache, Cached, LayerCache, pad_left, with_cache
from gptlib.generation import generate, next_token_probs, stream
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT

V, LONGEST = 13, 12
CLASSIC = {"vocab_size": V, "context_length": LONGEST, "n_layer": 2, "n_head": 2, "n_embd": 8}
MODERN = CLASSIC | {"n_kv_head": 1, "head_size": 4, "hidden": 12}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def opinionated(model: nn.Module) -> nn.Module:
    """Weights large enough for choices to differ, in float64, where none of them is close."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    return model.double().eval()


def classic(seed: int = 0, **changes) -> GPT:
    torch.manual_seed(seed)
    return opinionated(GPT(GPTConfig(**CLASSIC | changes)))


def modern(seed: int = 0, **changes) -> ModernGPT:
    torch.manual_seed(seed)
    return opinionated(ModernGPT(ModernConfig(**MODERN | changes)))


MODELS = {
    "classic": classic,
    "classic post-norm": lambda seed=0: classic(seed, norm="post", bias=False),
    "classic untied, dropout": lambda seed=0: classic(seed, tied=False, dropout=0.5),
    "modern": modern,
    "modern windows": lambda seed=0: modern(seed, window=3, full_every=2, n_layer=3),
    "modern narrow windows": lambda seed=0: modern(seed, window=1, n_kv_head=2),
    "modern sinks and caps": lambda seed=0: modern(seed, window=4, sinks=True, score_cap=1.0),
    "modern experts": lambda seed=0: modern(seed, n_expert=4, n_active=2, capacity=0.5),
    "modern sandwich": lambda seed=0: modern(seed, norm="sandwich", bias=True),
}
every_model = pytest.mark.parametrize("name", MODELS)
# What is asked: prompts of any lengths, some longer than the context, then texts that outgrow it.
requests = {
    "seed": st.integers(0, 2**20),
    "prompts": st.lists(
        st.lists(st.integers(0, V - 1), min_size=1, max_size=LONGEST + 4), min_size=1, max_size=4
    ),
    "n": st.integers(0, 2 * LONGEST),
    "stops": st.sets(st.integers(0, V - 1), max_size=3),
    "temperature": st.sampled_from([0, 0.7, 1.5]),
}


def one_by_one(model, prompts, n, stops, generator, **sampling) -> list[list[int]]:
    """Every row read by itself, whole and anew for each token: no cache, no padding, no batch."""
    rows = [list(prompt) for prompt in prompts]
    for _ in range(n):
        done = [len(r) > len(p) and r[-1] in stops for r, p in zip(rows, prompts, strict=True)]
        if all(done):
            break
        with torch.no_grad():
            logits = [model(torch.tensor([row[-LONGEST:]]))[0][0, -1] for row in rows]
        probs = next_token_probs(torch.stack(logits), **sampling)
        new = torch.multinomial(probs, 1, generator=generator).flatten().tolist()
        for row, token, stopped in zip(rows, new, done, strict=True):
            row.append(row[-1] if stopped else token)
    return rows


@every_model
@given(**requests)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_rows_of_any_length_are_written_as_each_by_itself(
    name, seed, prompts, n, stops, temperature
):
    model = MODELS[name](seed)
    sampling = {"temperature": temperature}
    idx, padding = pad_left(prompts)
    written = generate(
        Cached(model, padding), idx, n, stop_tokens=stops, generator=seeded(seed), **sampling
    )
    rows = [row[pad:] for row, pad in zip(written.tolist(), padding.tolist(), strict=True)]
    assert rows == one_by_one(model, prompts, n, stops, seeded(seed), **sampling)


@every_model
@given(**requests, top_p=st.sampled_from([None, 0.8]))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_generate_writes_the_same_with_the_cache_and_without(
    name, seed, prompts, n, stops, temperature, top_p
):
    model = MODELS[name](seed)
    idx = torch.tensor([(prompt * 16)[: len(prompts[0])] for prompt in prompts])
    asked = {"stop_tokens": stops, "temperature": temperature, "top_p": top_p}
    plain, cached = (
        generate(m, idx, n, generator=seeded(seed), **asked) for m in (model, Cached(model))
    )
    assert torch.equal(plain, cached)
    streamed = list(stream(Cached(model), idx[:1], n, generator=seeded(seed), **asked))
    whole = generate(model, idx[:1], n, generator=seeded(seed), **asked)
    assert streamed == whole[0, idx.size(1) :].tolist()


@every_model
def test_the_logits_are_those_of_the_whole_text_however_it_is_cut(name):
    model, idx = MODELS[name](), torch.randint(V, (3, LONGEST), generator=seeded())
    whole, _ = model(idx)
    for cuts in ([1] * LONGEST, [5, 1, 6], [1, 11], [12], [7, 5]):
        reader, end, found = Cached(model), 0, []
        for length in cuts:
            end += length
            logits, loss = reader(idx[:, :end])
            assert logits.shape == (3, length, V) and loss is None
            found.append(logits)
        torch.testing.assert_close(torch.cat(found, dim=1), whole)


@every_model
def test_one_more_token_is_one_token_of_work(name):
    model, lengths = MODELS[name](), []
    model.token_embedding.register_forward_hook(lambda _, args, out: lengths.append(out.size(1)))
    generate(Cached(model), torch.zeros(2, 4, dtype=torch.long), LONGEST)
    # Four at once, then one by one until the context is full; then whole windows, as without.
    assert lengths == [4] + [1] * (LONGEST - 4) + [LONGEST] * 3


def test_a_reader_may_read_another_text_and_the_same_one_again():
    model = classic()
    reader, texts = Cached(model), torch.randint(V, (6, 1, 8), generator=seeded(1))
    for text in (*texts, texts[-1], texts[-1, :, :5], torch.cat([texts[-1, :, :5], texts[0]], 1)):
        torch.testing.assert_close(reader(text)[0][:, -1], model(text[:, -LONGEST:])[0][:, -1])
    changed = texts[0].clone()
    changed[0, 2] = (changed[0, 2] + 1) % V  # as long as one that goes on, and none
    reader(texts[0][:, :7])
    torch.testing.assert_close(reader(changed)[0], model(changed)[0])
    two = texts[:2, 0]
    torch.testing.assert_close(reader(two)[0], model(two)[0])


def test_what_breaks_while_it_is_read_is_not_remembered():
    model, text = classic(), torch.randint(V, (1, 8), generator=seeded(2))
    reader = Cached(model)
    reader(text[:, :6])
    handle = model.blocks[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reader(text[:, :7])
    handle.remove()
    torch.testing.assert_close(reader(text)[0][:, -1], model(text)[0][:, -1])


def test_the_model_stays_as_it_is_and_its_weights_are_shared():
    model = classic(tied=False)
    names, modes = list(model.state_dict()), [m.training for m in model.train().modules()]
    reader, text = Cached(model), torch.randint(V, (1, 6), generator=seeded(3))
    out, _ = reader(text)
    assert not out.requires_grad and [m.training for m in model.modules()] == modes
    assert list(model.state_dict()) == names
    assert type(model.blocks[0].attention).__name__ == "CausalSelfAttention"
    view = with_cache(model, Cache([None, None]))
    assert {id(p) for p in view.parameters()} == {id(p) for p in model.parameters()}
    with torch.no_grad():
        model.head.weight.mul_(2)
    torch.testing.assert_close(Cached(model)(text)[0], 2 * out)


def test_a_block_without_shortcuts_is_read_by_its_own_forward():
    model, text = classic(), torch.randint(V, (2, 9), generator=seeded(4))
    whole = model(text)[0]
    for block in model.blocks:
        block.shortcut = False
    other = model(text)[0]
    assert not torch.allclose(other, whole)
    reader = Cached(model)
    found = [reader(text[:, : t + 1])[0] for t in range(9)]
    torch.testing.assert_close(torch.cat(found, dim=1), other)


def test_a_compiled_model_is_read_too():
    model, text = modern(), torch.randint(V, (1, 5), generator=seeded(5))
    plain = generate(model, text, 5, temperature=0)
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(generate(Cached(compiled), text, 5, temperature=0), plain)


# The cache itself --------------------------------------------------------------------------------


def test_a_layer_with_a_window_keeps_what_will_be_looked_at_and_says_who_sees_it():
    kept, k = LayerCache(window=3), torch.arange(8.0).view(1, 1, 8, 1)
    keys, values, seen = kept.add(k[:, :, :5], -k[:, :, :5])
    assert keys.flatten().tolist() == [0, 1, 2, 3, 4] and seen.sum(dim=1).tolist() == [
        1,
        2,
        3,
        3,
        3,
    ]
    assert kept.k.flatten().tolist() == [2, 3, 4] and kept.v.flatten().tolist() == [-2, -3, -4]
    keys, values, seen = kept.add(k[:, :, 5:6], -k[:, :, 5:6])
    assert keys.flatten().tolist() == [2, 3, 4, 5] and seen.tolist() == [[False, True, True, True]]
    assert torch.equal(values, -keys) and kept.read == 6
    assert kept.k.flatten().tolist() == [3, 4, 5]


def test_a_layer_without_a_window_keeps_all_and_one_query_needs_no_mask():
    kept, k = LayerCache(), torch.arange(8.0).view(1, 1, 8, 1)
    assert kept.add(k[:, :, :5], k[:, :, :5])[2].tolist() == torch.ones(5, 5).tril().bool().tolist()
    keys, _, seen = kept.add(k[:, :, 5:6], k[:, :, 5:6])
    assert keys.size(2) == 6 and seen is None
    assert LayerCache(window=9).add(k[:, :, :1], k[:, :, :1])[2] is None
    assert LayerCache(window=1).add(k[:, :, :1], k[:, :, :1])[2] is None


def test_padding_is_counted_from_the_first_token_though_it_is_no_longer_kept():
    kept = LayerCache(window=2, padding=torch.tensor([3, 0]))
    k = torch.zeros(2, 1, 1, 1)
    for _ in range(3):
        kept.add(k, k)
    seen = kept.add(k, k)[2]  # the fourth token, of which three keys are there
    assert seen[:, 0, 0].tolist() == [[False, False, True], [False, True, True]]


def test_positions_go_on_and_begin_behind_the_padding():
    cache = Cache([None], torch.tensor([0, 2, 9]))
    assert cache.positions(3).tolist() == [[0, 1, 2], [0, 0, 0], [0, 0, 0]]
    cache.layers[0].add(*2 * [torch.zeros(3, 1, 3, 1)])
    assert cache.read == 3
    assert cache.positions(2).tolist() == [[3, 4], [1, 2], [0, 0]]
    plain = Cache([None, 4])
    plain.layers[0].add(*2 * [torch.zeros(3, 1, 3, 1)])
    assert plain.positions(2).tolist() == [3, 4] and plain.padding is None
    assert plain.positions(2, torch.device("meta")).device.type == "meta"


def test_the_bytes_are_those_of_what_is_kept():
    cache = Cache([None, 2])
    assert cache.nbytes == 0
    for layer in cache.layers:
        layer.add(*2 * [torch.zeros(3, 2, 5, 4)])
    assert cache.nbytes == 2 * 4 * (3 * 2 * 5 * 4 + 3 * 2 * 2 * 4)


# What is refused ---------------------------------------------------------------------------------


def test_what_has_no_cache_and_what_cannot_be_read_is_refused():
    with pytest.raises(
        ValueError, match="model must be a GPT or have a method new_cache; got Bigr"
    ):
        Cached(BigramModel(V))
    with pytest.raises(
        ValueError, match="windows must have one entry a layer, at least one; got no"
    ):
        Cache([])
    reader, text = Cached(classic()), torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="targets must be None: Cached returns the logits of new"):
        reader(text, text)
    for wrong in (torch.zeros(2), torch.zeros(1, 2, dtype=torch.long), torch.tensor(1)):
        with pytest.raises(ValueError, match="padding must be one whole number a row, of shape"):
            Cached(classic(), wrong)
    with pytest.raises(ValueError, match="padding has 2 rows, and idx 1"):
        Cached(classic(), torch.tensor([0, 1]))(text)


@pytest.mark.parametrize("prompts", [[], [[]], [[1], []]])
def test_prompts_of_nothing_are_refused(prompts):
    with pytest.raises(ValueError, match="prompts must hold one text or more, none of them empty"):
        pad_left(prompts)
