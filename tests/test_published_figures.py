"""The worked figures that were published, to their printed digits; `pytest -s` shows them.

Source: the "Build an LLM from scratch" lecture, chapter 4 (S. Raschka), GPT-2's released
checkpoint and the table of the Pythia models (S. Biderman et al., 2023).
"""

from __future__ import annotations

import pytest
import torch
from chapterfiles import ROOT, code_cells, read
from torch import nn

from gptlib.block import ShortcutMLP, mean_gradients
from gptlib.gpt import GPT, GPTConfig, non_embedding_parameters, parameter_bytes, total_parameters
from gptlib.layers import LayerNorm, layer_norm

PROMPT = [15496, 11, 314, 716]  # Hello, I am
UNTRAINED = [27018, 24086, 47843, 30961, 42348, 7267]  # Featureiman Byeswickattribute argue


def digits(row: torch.Tensor) -> str:
    """A row as the lecture prints it, with four digits."""
    return " ".join(f"{value:.4f}" for value in row.tolist())


def check(name: str, value: torch.Tensor, expected: list[str]) -> None:
    """Print and compare, row by row."""
    for row, text in zip(value.reshape(len(expected), -1), expected, strict=True):
        print(f"{name}: {digits(row)}")
        assert digits(row) == text


def test_layer_norm_example():
    torch.manual_seed(123)
    x = torch.randn(2, 5)
    check(
        "x",
        x,
        ["-0.1115 0.1204 -0.3696 -0.2404 -1.1969", "0.2093 -0.9724 -0.7550 0.3239 -0.1085"],
    )
    out = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.ReLU())(x)
    check(
        "Linear, ReLU",
        out,
        [
            "0.2260 0.3470 0.0000 0.2216 0.0000 0.0000",
            "0.2133 0.2394 0.0000 0.5198 0.3297 0.0000",
        ],
    )
    mean, var = out.mean(dim=-1, keepdim=True), out.var(dim=-1, keepdim=True)
    check("means", mean, ["0.1324", "0.2170"])
    check("variances, unbiased", var, ["0.0231", "0.0398"])
    normalised = (out - mean) / torch.sqrt(var)
    check(
        "normalised",
        normalised,
        [
            "0.6159 1.4126 -0.8719 0.5872 -0.8719 -0.8719",
            "-0.0189 0.1121 -1.0876 1.5173 0.5647 -1.0876",
        ],
    )
    expected = [
        "0.5528 1.0693 -0.0223 0.2656 -1.8654",
        "0.9087 -1.3767 -0.9564 1.1304 0.2940",
    ]
    check("LayerNorm", LayerNorm(5)(x), expected)
    check("LayerNorm by hand", layer_norm(x), expected)


@pytest.mark.parametrize(
    ("shortcut", "expected"),
    [
        (
            False,
            [
                0.00020173587836325169,
                0.0001201116101583466,
                0.0007152041071094573,
                0.0013988736318424344,
                0.005049645435065031,
            ],
        ),
        (
            True,
            [
                0.22169791162014008,
                0.20694106817245483,
                0.32896995544433594,
                0.2665732204914093,
                1.3258540630340576,
            ],
        ),
    ],
    ids=["without", "with"],
)
def test_gradients_of_the_shortcut_example(shortcut, expected):
    torch.manual_seed(123)
    model = ShortcutMLP([3, 3, 3, 3, 3, 1], shortcut)
    out = model(torch.tensor([[1.0, 0.0, -1.0]]))
    torch.nn.functional.mse_loss(out, torch.tensor([[0.0]])).backward()
    gradients = mean_gradients(model)
    for name, value in gradients.items():
        print(f"shortcut={shortcut} {name}: {value}")
    assert list(gradients.values()) == pytest.approx(expected, rel=2e-6)


def test_token_ids(shared_data, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shared_data / "tiktoken_cache"))
    tiktoken = pytest.importorskip("tiktoken", reason="pip install tiktoken")
    encoding = tiktoken.get_encoding("gpt2")
    for text, ids in {
        "Every effort moves you": [6109, 3626, 6100, 345],
        "Every day holds a": [6109, 1110, 6622, 257],
        "Hello, I am": PROMPT,
    }.items():
        print(f"{text!r}: {encoding.encode(text)}")
        assert encoding.encode(text) == ids
    untrained = encoding.decode(PROMPT + UNTRAINED)
    print(f"{PROMPT + UNTRAINED}: {untrained!r}")
    assert untrained == "Hello, I am Featureiman Byeswickattribute argue"


def test_parameters_of_the_lectures_model():
    config = GPTConfig.preset("lecture-124m")
    assert (config.vocab_size, config.context_length, config.n_embd) == (50257, 1024, 768)
    assert (config.n_head, config.n_layer, config.dropout) == (12, 12, 0.1)
    assert not config.qkv_bias and not config.tied
    with torch.device("meta"):  # shapes only, no memory
        model = GPT(config)
    untied = model.num_parameters()
    without_head = untied - model.head.weight.numel()
    megabytes = f"{parameter_bytes(config) / 1024**2:.2f}"
    print(f"{untied:,} untied, {without_head:,} without the head, {megabytes} MB")
    assert untied == total_parameters(config) == 163_009_536
    assert without_head == 124_412_160
    assert total_parameters(GPTConfig.preset("lecture-124m", tied=True)) == 124_412_160
    assert megabytes == "621.83"


def test_parameters_of_gpt2():
    config = GPTConfig.preset("gpt2-small")
    with torch.device("meta"):
        built = GPT(config).num_parameters()
    print(f"GPT-2 small: {built:,}")
    assert built == total_parameters(config) == 124_439_808


PYTHIA = {  # layers, width, heads, learning rate in ten-thousandths, non-embedding parameters
    "70M": (6, 512, 8, 10.0, 18_915_328),
    "160M": (12, 768, 12, 6.0, 85_056_000),
    "410M": (24, 1024, 16, 3.0, 302_311_424),
    "1.0B": (16, 2048, 8, 3.0, 805_736_448),
    "1.4B": (24, 2048, 16, 2.0, 1_208_602_624),
    "2.8B": (32, 2560, 32, 1.6, 2_517_652_480),
    "6.9B": (32, 4096, 32, 1.2, 6_444_163_072),
    "12B": (36, 5120, 40, 1.2, 11_327_027_200),
}


@pytest.mark.parametrize("size", PYTHIA)
def test_non_embedding_parameters_of_pythia(size):
    n_layer, n_embd, n_head, _, expected = PYTHIA[size]
    config = GPTConfig(n_layer=n_layer, n_embd=n_embd, n_head=n_head)
    with torch.device("meta"):
        built = GPT(config).num_parameters(embeddings=False)
    print(f"Pythia {size}: {non_embedding_parameters(config):,}")
    assert non_embedding_parameters(config) == built == expected
    assert 12 * n_layer * n_embd**2 + 13 * n_layer * n_embd + 2 * n_embd == expected


def test_chapter_6_shows_pythia_as_published():
    cells = code_cells(read(ROOT / "chapters" / "06_gpt.ipynb"))
    shown = next("".join(o.text for o in c.outputs) for c in cells if "pythia" in c.source)
    for line, (size, numbers) in zip(shown.strip().splitlines(), PYTHIA.items(), strict=True):
        n_layer, n_embd, n_head, rate, expected = numbers
        wanted = f"{size} {n_layer} x {n_embd}, {n_head} heads {expected:,} rate {rate}e-4"
        print(line)
        assert line.split() == wanted.split()
    rates = [numbers[3] for numbers in PYTHIA.values()]
    assert rates == sorted(rates, reverse=True)  # never a larger rate for a larger model


# Logits ------------------------------------------------------------------------------------------

TEXTS = torch.tensor([[6109, 3626, 6100, 345], [6109, 1110, 6622, 257]])
# The first three logits of each place. The lecture printed them as its models were built, in
# training mode: dropout was at work.
SKELETON = [
    [[-1.2034, 0.3201, -0.7130], [-0.1192, 0.4539, -0.4432]],
    [[-1.0908, 0.1798, -0.9484], [-0.7860, 0.5581, -0.0610]],
]
SKELETON[0] += [[0.5307, 1.6720, -0.4695], [0.0139, 1.6754, -0.3388]]
SKELETON[1] += [[0.3567, 1.2698, -0.6398], [-0.2407, -0.7349, -0.5102]]
LAST = [[-0.4667, 1.2430, 0.5835, -1.0400], [-0.4530, 1.6621, 0.3717, 0.1814]]
FULL = [
    [[0.3613, 0.4223, -0.0711], [-0.1792, -0.5660, -0.9485]],
    [[-0.2564, 0.0900, 0.0335], [0.1230, 0.3653, -0.2074]],
]
FULL[0] += [[0.7120, 0.0332, 0.1085], [-1.0076, 0.3418, -0.1190]]
FULL[1] += [[1.0558, 1.0318, -0.2800], [-0.1565, 0.3926, 0.3288]]

# Which numbers dropout strikes out depends on the library that draws them.
as_printed = pytest.mark.skipif(
    not torch.backends.mkl.is_available(), reason="dropout draws otherwise without Intel's MKL"
)


def skeleton(order: str = "tokens first") -> tuple[nn.Embedding, nn.Embedding, nn.Linear]:
    """Tables and head of the lecture's model, drawn from seed 123."""
    torch.manual_seed(123)
    if order == "tokens first":
        tokens, places = nn.Embedding(50257, 768), nn.Embedding(1024, 768)
    else:
        places, tokens = nn.Embedding(1024, 768), nn.Embedding(50257, 768)
    return tokens, places, nn.Linear(768, 50257, bias=False)


@torch.no_grad()
def skeleton_logits(parts, training: bool) -> torch.Tensor:
    tokens, places, head = parts
    h = tokens(TEXTS) + places(torch.arange(4))  # (B, T, C) + (T, C)
    return head(nn.functional.dropout(h, 0.1, training))


def near(logits: torch.Tensor, expected: list) -> bool:
    """Whether logits are those of the lecture; its last digit is off by one here and there."""
    return torch.allclose(logits, torch.tensor(expected), atol=1.5e-4, rtol=0)


@as_printed
def test_the_skeleton_s_logits():
    logits = skeleton_logits(skeleton(), training=True)
    for row in logits.flatten(0, 1):
        print(f"skeleton: {digits(row[:3])} ... {digits(row[-1:])}")
    assert near(logits[..., :3], SKELETON) and near(logits[..., -1], LAST)


def test_the_skeleton_s_first_rows_differ_by_dropout_alone():
    logits = skeleton_logits(parts := skeleton(), training=False)
    assert torch.equal(logits[0, 0], logits[1, 0])
    check("skeleton, evaluation mode", logits[0, 0, :3], ["-1.1947 0.1392 -0.8616"])
    noisy = skeleton_logits(parts, training=True)
    assert not torch.allclose(noisy[0, 0], noisy[1, 0], atol=0.01)


def test_a_part_that_is_drawn_earlier_moves_all_the_numbers():
    logits = skeleton_logits(skeleton("places first"), training=False)
    assert not torch.allclose(logits[0, 0, :3], torch.tensor([-1.1947, 0.1392, -0.8616]), atol=0.1)


@as_printed
def test_the_full_model_s_logits():
    torch.manual_seed(123)
    model = GPT(GPTConfig.preset("lecture-124m"))
    with torch.no_grad():
        logits, _ = model(TEXTS)
    for row in logits.flatten(0, 1):
        print(f"full model: {digits(row[:3])}")
    assert near(logits[..., :3], FULL)


def test_the_untrained_model_speaks():
    torch.manual_seed(123)
    model = GPT(GPTConfig.preset("lecture-124m")).eval()
    idx = torch.tensor([PROMPT])
    with torch.no_grad():
        for _ in UNTRAINED:
            logits, _ = model(idx)
            idx = torch.cat([idx, logits[:, -1:].argmax(dim=-1)], dim=1)
    print(f"untrained, seed 123: {idx[0].tolist()}")
    assert idx[0].tolist() == PROMPT + UNTRAINED
