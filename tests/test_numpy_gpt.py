"""The GPT in NumPy: PyTorch's model is the oracle, for logits and for what is written."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_model

from gptlib import corpus
from gptlib.appendix import numpy_gpt
from gptlib.appendix.numpy_gpt import generate, gpt, load_weights
from gptlib.generation import generate as generate_in_torch
from gptlib.given.records import load_recorded, recorded_file
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer

SMALL = {"vocab_size": 50, "context_length": 12, "n_layer": 2, "n_head": 3, "n_embd": 24}
FORMS = [
    {},
    {"bias": False, "gelu": "none"},
    {"tied": False, "qkv_bias": False},
    {"waves": True, "n_head": 1, "n_layer": 1},
]


def stirred(config: GPTConfig, seed: int = 0) -> GPT:
    """A model whose weights are large enough to tell, biases and norms included."""
    torch.manual_seed(seed)
    model = GPT(config).double().eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    return model


def arrays(model: GPT) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def logits_of(model: GPT, idx: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(idx))[0].numpy()


@pytest.mark.parametrize("form", FORMS)
def test_the_logits_are_pytorch_s(form):
    model = stirred(GPTConfig(**{**SMALL, **form}))
    idx = np.random.default_rng(1).integers(0, 50, (4, 12))
    ours = gpt(idx, arrays(model), model.config)
    np.testing.assert_allclose(ours, logits_of(model, idx), rtol=0, atol=1e-11)


def test_the_recorded_weights_give_the_recorded_model_s_logits():
    config = GPTConfig.preset("stories")
    model = GPT(config).eval()
    load_recorded(model, "stories")
    weights = load_weights(recorded_file("stories", ".safetensors"))
    assert {w.dtype for w in weights.values()} == {np.dtype("float32")}
    idx = np.random.default_rng(1).integers(0, 1536, (3, 128))
    ours = gpt(idx, weights, config)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, logits_of(model, idx), rtol=1e-5, atol=5e-5)
    exact = {name: w.astype(float) for name, w in weights.items()}
    theirs = logits_of(model.double(), idx)
    np.testing.assert_allclose(gpt(idx, exact, config), theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("cuts", [[1], [11], [3, 4, 9], list(range(1, 12))])
def test_a_text_in_pieces_gives_the_same_logits(cuts):
    model = stirred(GPTConfig(**SMALL))
    idx = np.random.default_rng(2).integers(0, 50, (2, 12))
    cache, pieces = [[], []], []
    for piece in np.split(idx, cuts, axis=1):
        pieces.append(gpt(piece, arrays(model), model.config, cache))
    whole = gpt(idx, arrays(model), model.config)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=0, atol=1e-11)
    assert [array.shape for array in cache[1]] == [(2, 3, 12, 8)] * 2


@pytest.mark.parametrize("length", [1, 11, 12, 15])
def test_it_writes_what_pytorch_writes_beyond_the_context_too(length):
    model = stirred(GPTConfig(**SMALL))
    idx = np.random.default_rng(3).integers(0, 50, (3, length))
    ours = generate(idx, arrays(model), model.config, 20, lambda logits: logits.argmax(axis=-1))
    theirs = generate_in_torch(model, torch.from_numpy(idx), 20, temperature=0)
    assert (ours == theirs.numpy()).all()


@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_model_is_read(tied, tmp_path):
    model = GPT(GPTConfig(**SMALL, tied=tied))
    save_model(model, str(tmp_path / "model.safetensors"))
    weights = load_weights(tmp_path / "model.safetensors")
    assert weights.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert (weights[name] == tensor.numpy()).all()


def test_what_it_cannot_compute_is_refused():
    model = stirred(GPTConfig(**SMALL, norm="post"))
    idx = np.zeros((1, 13), dtype=int)
    with pytest.raises(ValueError, match="norm must be 'pre' here; got 'post'"):
        gpt(idx[:, :3], arrays(model), model.config)
    model = stirred(GPTConfig(**SMALL))
    with pytest.raises(ValueError, match="13 tokens, and 12 positions"):
        gpt(idx, arrays(model), model.config)
    cache = [[], []]
    gpt(idx[:, :12], arrays(model), model.config, cache)
    with pytest.raises(ValueError, match="13 tokens, and 12 positions"):
        gpt(idx[:, :1], arrays(model), model.config, cache)


def test_it_needs_no_pytorch():
    code = "import sys, gptlib.appendix.numpy_gpt; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# What appendix A says of the recorded model ------------------------------------------------------

STORIES = GPTConfig.preset("stories")


@pytest.fixture(scope="module")
def weights():
    return load_weights(recorded_file("stories", ".safetensors"))


@pytest.fixture(scope="module")
def story_ids():
    """Stories as ids, END before each: seed -> a list of lists."""
    text = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(text, 1536, special_tokens=[corpus.END])
    encoding = tokenizer.to_tiktoken()

    def stories(n: int, seed: int) -> list[list[int]]:
        end = [tokenizer.special_tokens[corpus.END]]
        return [end + encoding.encode(story.text) for story in corpus.stories(n, seed=seed)]

    return stories


def greedy(logits):
    return logits.argmax(axis=-1)


def unmoved(T, S=None, moved=0, dtype=float, tri=np.tri):
    return tri(T, S, dtype=dtype)


def shuffled(w, n_head):
    """Attention's weights as one has them who reads the 192 rows as heads times three."""
    rows = np.arange(len(w["qkv.weight"])).reshape(n_head, 3, -1).swapaxes(0, 1).ravel()
    return {**w, "qkv.weight": w["qkv.weight"][rows]}


def test_a_small_mistake_hides_in_float32_and_not_in_float64(monkeypatch, weights, story_ids):
    idx = np.array([story[:64] for story in story_ids(20, 1)])
    moved, right = {}, numpy_gpt.layer_norm
    for kind in ("float32", "float64"):
        cast = {name: w.astype(kind) for name, w in weights.items()}
        logits = gpt(idx, cast, STORIES)
        monkeypatch.setattr(numpy_gpt, "layer_norm", lambda x, w: right(x, w, eps=1.001e-5))
        moved[kind] = np.abs(gpt(idx, cast, STORIES) - logits).max()
        monkeypatch.undo()
    assert moved["float32"] < 1e-4  # what appendix A allows
    assert 3e-6 < moved["float64"] < 3e-5 and moved["float64"] > 1e5 * 1e-11


def test_the_silent_mistakes_write_the_same_stories(monkeypatch, weights, story_ids):
    starts = np.array([story[:10] for story in story_ids(10, 2)])
    texts = {"right": generate(starts, weights, STORIES, 50, greedy)}
    form = GPTConfig(**{**vars(STORIES), "gelu": "tanh"})
    texts["tanh form"] = generate(starts, weights, form, 50, greedy)

    def eps_outside(x, w):
        mean, std = x.mean(axis=-1, keepdims=True), x.std(axis=-1, keepdims=True)
        return (x - mean) / (std + 1e-5) * w["weight"]

    monkeypatch.setattr(numpy_gpt, "layer_norm", eps_outside)
    texts["eps outside"] = generate(starts, weights, STORIES, 50, greedy)
    monkeypatch.undo()
    attention = numpy_gpt.attention
    monkeypatch.setattr(
        numpy_gpt, "attention",
        lambda x, w, n_head, cache: attention(x, shuffled(w, n_head), n_head, cache),
    )  # fmt: skip
    texts["heads first"] = generate(starts, weights, STORIES, 50, greedy)
    same = {name: (text == texts["right"]).all(axis=1) for name, text in texts.items()}
    assert same["tanh form"].all() and same["eps outside"].all()
    assert not same["heads first"].any()


def test_without_positions_the_keys_of_later_layers_still_change(weights, story_ids):
    """Two reasons why a moved window is computed anew: the table is one, the lost token the other.

    The control is layer 0, whose keys depend on their own token and place alone.
    """
    idx, exact = (
        np.array([story_ids(1, 1)[0][:40]]),
        {n: w.astype(float) for n, w in weights.items()},
    )
    name = "position_embedding.weight"
    for table, kept in ((exact[name], 0), (0 * exact[name], 1)):
        caches = []
        for window in (idx, idx[:, 1:]):
            caches.append([[] for _ in range(STORIES.n_layer)])
            gpt(window, exact | {name: table}, STORIES, caches[-1])
        apart = [np.abs(a[0][:, :, 1:] - b[0]).max() for a, b in zip(*caches, strict=True)]
        assert max(apart[:kept], default=0) < 1e-12 and min(apart[kept:]) > 0.1


def test_a_triangle_that_is_not_moved_shows_from_the_second_new_token_on(
    monkeypatch, weights, story_ids
):
    starts = np.array([story[:8] for story in story_ids(30, 3)])
    right = generate(starts, weights, STORIES, 10, greedy)
    monkeypatch.setattr(np, "tri", unmoved)
    differs = generate(starts, weights, STORIES, 10, greedy) != right
    places = differs[:, 8:].argmax(axis=1) + 1
    assert differs.any(axis=1).all()
    assert (places == 2).sum() == 14 and places.min() == 2 and places.max() == 8


def test_the_largest_lot_falls_on_a_token_too():
    """Exercise 1: the running sum may end a little under 1 or over it."""
    largest = 1 - 2.0**-53  # a Generator draws below 1, in steps of that
    for last in (1.0, 1 - 2.0**-53, 1 + 2.0**-52, 1 - 1e-12, 1 + 1e-12):
        chances = np.array([[0.25, 0.5, last]])
        assert (chances < largest * chances[:, -1:]).sum() <= 2
    chances = np.array([[0.25, 0.5, 1 - 1e-12]])
    assert (chances < largest).sum() == 3  # without the product: a token that is not there
