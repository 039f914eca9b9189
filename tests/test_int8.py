"""int8 weights: what is rounded and how far, who shares what, and that writing goes on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gptlib.cache import Cached
from gptlib.corpus import END, stories
from gptlib.corpus.scoring import AnswerKey
from gptlib.generation import generate
from gptlib.gpt import GPT, GPTConfig
from gptlib.int8 import KERNEL, Int8Embedding, Int8Linear, quantise, quantized, weight_bytes
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.tokenizer import BPETokenizer
from gptlib.widgets.model_file import stored

SHAPE = {"vocab_size": 40, "context_length": 24, "n_layer": 2, "n_head": 2, "n_embd": 16}


def model(seed: int = 0, **changes) -> GPT:
    """A GPT whose weights are spread widely, so that its choices differ."""
    torch.manual_seed(seed)
    built = GPT(GPTConfig(**SHAPE | changes)).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return built


def rounded(whole: nn.Module) -> nn.Module:
    """The model in float32 with every matrix rounded to int8 and back: what int8 must compute."""
    for part in whole.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            numbers, scale = quantise(part.weight)
            part.weight = nn.Parameter(numbers * scale[:, None])
    return whole


def of_most(whole: nn.Module, rows: int) -> nn.Module:
    for part in whole.modules():
        if isinstance(part, Int8Linear):
            part.most_rows = rows
    return whole


def test_worked_values_of_the_docstrings():
    assert quantise(torch.tensor([[1.27, -0.5], [0.0, 0.0]]))[0].tolist() == [[127, -50], [0, 0]]
    assert weight_bytes(nn.Linear(1000, 10)) == 40_040


def test_every_number_is_off_by_half_a_scale_at_most_and_the_largest_by_nothing():
    weight = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)) * torch.rand(50, 1)
    numbers, scale = quantise(weight)
    back = numbers * scale[:, None]
    assert numbers.dtype == torch.int8 and scale.shape == (50,)
    assert ((back - weight).abs() <= 0.5001 * scale[:, None]).all()
    assert numbers.abs().amax(dim=1).tolist() == [127] * 50
    assert torch.allclose(back.abs().amax(dim=1), weight.abs().amax(dim=1))


@pytest.mark.parametrize("changes", [{}, {"tied": False}, {"bias": False}], ids=str)
def test_the_logits_are_those_of_the_rounded_weights(changes):
    idx = torch.randint(40, (3, 24), generator=torch.Generator().manual_seed(1))
    int8 = quantized(model(**changes))
    with torch.no_grad():
        expected = rounded(model(**changes))(idx)[0]
        assert torch.allclose(of_most(int8, 0)(idx)[0], expected, atol=1e-4)
        assert not torch.allclose(model(**changes)(idx)[0], expected, atol=1e-3)


def test_a_few_rows_go_through_the_kernel_and_come_out_near():
    """Within what bfloat16 leaves of the activations: three digits."""
    layer = nn.Linear(48, 20)
    numbers, scale = quantise(layer.weight)
    int8 = Int8Linear(numbers, scale, layer.bias)
    for shape in ((1, 1, 48), (2, 3, 48), (16, 48), (48,)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        exact = x @ (numbers * scale[:, None]).T + layer.bias
        out = int8(x)
        assert out.shape == exact.shape and out.dtype == x.dtype
        assert (out - exact).abs().max() < 0.02 * exact.abs().max()
        assert KERNEL is None or not torch.equal(out, of_most(int8, 0)(x))
        del int8.most_rows
    many = torch.randn(17, 48, generator=torch.Generator().manual_seed(2))
    assert torch.equal(int8(many), of_most(int8, 0)(many))  # in float32


def test_it_goes_on_where_there_is_no_kernel(monkeypatch):
    monkeypatch.setattr("gptlib.int8.KERNEL", None)
    x = torch.randn(1, 48)
    layer = nn.Linear(48, 20, bias=False)
    numbers, scale = quantise(layer.weight)
    exact = x @ (numbers * scale[:, None]).T
    assert torch.allclose(Int8Linear(numbers, scale, None)(x), exact, atol=1e-5)


def test_the_model_itself_is_left_alone_and_the_copy_is_ready_to_be_asked():
    whole = model(dropout=0.5).train()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    int8 = quantized(whole)
    assert whole.training and not int8.training and isinstance(int8, GPT)
    after = whole.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(isinstance(part, nn.Linear | nn.Embedding) for part in int8.modules())
    assert all(parameter.dim() == 1 for parameter in int8.parameters())  # norms, and no matrix


def test_a_tied_head_shares_its_numbers_and_takes_a_quarter_of_the_room():
    tied, own = quantized(model()), quantized(model(tied=False))
    assert tied.head.weight.data_ptr() == tied.token_embedding.weight.data_ptr()
    assert own.head.weight.data_ptr() != own.token_embedding.weight.data_ptr()
    assert isinstance(tied.token_embedding, Int8Embedding)
    large = GPT(GPTConfig.preset("stories"))
    matrices = [p for p in large.parameters() if p.dim() == 2]
    rows, numbers = sum(map(len, matrices)), sum(p.numel() for p in matrices)
    norms = sum(p.numel() for p in large.parameters() if p.dim() == 1)
    assert weight_bytes(large) == 4 * (numbers + norms)
    assert weight_bytes(quantized(large)) == numbers + 4 * (rows + norms)


def test_the_numbers_are_those_of_the_file_that_a_page_opens():
    whole = model()
    int8, file = quantized(whole).state_dict(), stored(whole, "int8")
    names = [name for name in file if file[name].dtype == torch.int8]
    assert len(names) == 2 + 4 * 2
    for name in names:
        assert torch.equal(int8[name], file[name])
        assert torch.equal(int8[name.replace(".weight", ".scale")], file[f"{name}.scale"])


@pytest.mark.parametrize("rows", [0, 16])
def test_the_cache_changes_nothing_of_what_is_written(rows):
    """With the kernel activations are rounded, in a row of one and in a row of many alike."""
    int8 = of_most(quantized(model()), rows or 0)
    idx = torch.tensor([[3, 1, 4]])
    with_cache = generate(Cached(int8), idx, 12, temperature=0)
    assert torch.equal(with_cache, generate(int8, idx, 12, temperature=0))


def test_a_modern_model_is_rounded_too():
    torch.manual_seed(0)
    whole = ModernGPT(ModernConfig(**SHAPE, n_kv_head=1, head_size=8, hidden=24)).eval()
    idx = torch.randint(40, (2, 20))
    with torch.no_grad():
        near, exact = of_most(quantized(whole), 0)(idx)[0], whole(idx)[0]
    assert 0 < (near - exact).abs().max() < 0.05 * exact.abs().max() + 0.05
    assert generate(Cached(quantized(whole)), idx[:1], 3).shape == (1, 23)


def test_it_can_be_scored():
    told = stories(3)
    tokenizer = BPETokenizer([], [END])
    whole = model(vocab_size=tokenizer.vocab_size, context_length=600)
    key = AnswerKey(told, tokenizer)
    assert key.score(quantized(whole)).loss == pytest.approx(key.score(whole).loss, rel=0.02)


def test_weights_that_have_blown_up_are_refused():
    whole = model()
    whole.head.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="must have finite weights"):
        quantized(whole)


@pytest.mark.parametrize("width", [8, 24, 40, 64, 72])
def test_a_row_of_any_width_is_read_to_its_end_and_no_further(width):
    """The kernel takes whole registers: what stood in memory behind a shorter row came out."""
    weight, scale = quantise(torch.randn(16, width))
    layer = Int8Linear(weight, scale, None)
    for _ in range(60):
        behind = [
            torch.full((n,), float("nan"), dtype=torch.bfloat16) for n in (width, 16, 64, 128)
        ]
        del behind
        x = torch.randn(1, width)
        assert (layer(x) - x @ (weight * scale[:, None]).T).abs().max() < 0.3
