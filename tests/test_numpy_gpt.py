"""The GPT in NumPy: PyTorch's model is the oracle, for logits and for what is written."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_model

from gptlib.appendix.numpy_gpt import generate, gpt, load_weights
from gptlib.generation import generate as generate_in_torch
from gptlib.given.records import load_recorded, recorded_file
from gptlib.gpt import GPT, GPTConfig

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
