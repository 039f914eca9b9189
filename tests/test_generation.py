"""Generation: the distribution against transformers' warpers, the tokens against their chances."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gptlib.bigram import BigramModel
from gptlib.generation import generate, keep_top_p, next_token_probs, sample, stream
from gptlib.gpt import GPT, GPTConfig

V = 7


def tiny_gpt(dropout=0.0):
    torch.manual_seed(5)
    model = GPT(GPTConfig(V, context_length=8, n_layer=1, n_head=2, n_embd=16, dropout=dropout))
    # Larger weights than at the start of training, so that the choices are not all alike.
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(8)
    return model


def prompt(*ids):
    return torch.tensor([ids or (1, 2)])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Counter(nn.Module):
    """Knows one thing: after token t comes t + 1. Notes how long its inputs are."""

    def __init__(self, context_length=None):
        super().__init__()
        self.vocab_size, self.lengths, self.modes = 10, [], []
        if context_length is not None:
            self.context_length = context_length

    def forward(self, idx, targets=None):
        self.lengths.append(idx.size(1))
        self.modes.append((self.training, torch.is_grad_enabled()))
        return 50.0 * nn.functional.one_hot((idx + 1) % 10, 10).float(), None


# The distribution


def test_worked_values():
    logits = torch.tensor([0.5, 0.25, 0.25]).log()
    torch.testing.assert_close(next_token_probs(logits), torch.tensor([0.5, 0.25, 0.25]))
    sharper = next_token_probs(logits, temperature=0.5)
    torch.testing.assert_close(sharper, torch.tensor([2 / 3, 1 / 6, 1 / 6]))
    assert next_token_probs(logits, temperature=0.5, top_p=0.4).tolist() == [1, 0, 0]
    torch.testing.assert_close(
        next_token_probs(torch.tensor([0.5, 0.3, 0.2]).log(), top_p=0.6),
        torch.tensor([0.625, 0.375, 0.0]),
    )


def warped(logits, temperature, top_k, top_p):
    """The same distribution by transformers' classes, which come in this order there too."""
    warpers = pytest.importorskip("transformers.generation.logits_process")
    rows = logits.reshape(-1, logits.size(-1))
    if temperature != 1:
        rows = warpers.TemperatureLogitsWarper(temperature)(None, rows)
    if top_k is not None:
        rows = warpers.TopKLogitsWarper(top_k)(None, rows)
    if top_p is not None:
        rows = warpers.TopPLogitsWarper(top_p)(None, rows)
    return rows.softmax(dim=-1).view_as(logits)


SETTINGS = list(itertools.product([0.3, 1.0, 2.5], [None, 1, 5, 50], [None, 0.1, 0.5, 0.9, 1.0]))


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), SETTINGS)
def test_the_distribution_equals_transformers(temperature, top_k, top_p):
    logits = 3 * torch.randn(4, 3, 50, generator=seeded(1))
    ours = next_token_probs(logits, temperature, top_k, top_p)
    torch.testing.assert_close(ours, warped(logits, temperature, top_k, top_p))


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), SETTINGS)
def test_with_ties_as_many_tokens_stay_as_in_transformers(temperature, top_k, top_p):
    # Whole numbers: many equal logits. Which of equals stays is a matter of the order they are
    # sorted in; how many stay, and with what probabilities, is not.
    logits = torch.randint(-3, 4, (12, 50), generator=seeded(2)).float()
    ours = next_token_probs(logits, temperature, top_k, top_p).sort(dim=-1).values
    theirs = warped(logits, temperature, top_k, top_p).sort(dim=-1).values
    torch.testing.assert_close(ours, theirs)


def test_of_equals_the_first_ids_stay_in_top_p_and_all_stay_in_top_k():
    equal = torch.zeros(8)
    assert next_token_probs(equal, top_p=0.25).tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0]
    assert next_token_probs(equal, top_k=2).tolist() == [0.125] * 8
    assert next_token_probs(equal, temperature=0).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_top_p_of_one_keeps_every_token():
    # Rounded, the first probability is 1, and nothing would seem to be missing.
    assert next_token_probs(torch.tensor([20.0, 0.0]), top_p=1.0)[1] > 0


@pytest.mark.parametrize("top_p", [5e-324, 1e-46, 1e-45, 1e-38, 1e-8])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_however_small_top_p_is_the_most_likely_token_stays(top_p, kind):
    logits = torch.tensor([[0.0, 3.0, 1.0], [0.0, 0.0, 0.0]], dtype=kind)
    expected = [[0, 1, 0], [1, 0, 0]]
    assert next_token_probs(logits, top_p=top_p).tolist() == expected
    assert keep_top_p(logits.softmax(dim=-1), top_p).tolist() == expected
    assert generate(BigramModel(3), prompt(), 3, top_p=top_p).tolist() == [[1, 2, 0, 0, 0]]


@pytest.mark.parametrize("temperature", [1e-320, 1e-40, 1.0, 1e30, 1e39, 1e300])
def test_a_token_that_is_ruled_out_never_comes_at_any_temperature(temperature):
    probs = next_token_probs(torch.tensor([1.0, -math.inf, 0.0]), temperature)
    assert probs.isfinite().all() and probs[1] == 0
    assert probs.sum().item() == pytest.approx(1)
    assert probs.tolist() == pytest.approx([0.5, 0, 0.5] if temperature > 1 else probs.tolist())


def test_fractions_and_numpys_numbers_are_numbers():
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    wanted = next_token_probs(logits, 0.5, 2, 0.75)
    assert next_token_probs(logits, 10**400).tolist() == pytest.approx([1 / 3] * 3)
    for make in (np.float64, np.float32, Fraction):
        assert torch.equal(next_token_probs(logits, make(0.5), np.int64(2), make(0.75)), wanted)


@given(
    # Hundredths: nearer to each other, two logits can round to the same probability.
    st.lists(st.integers(-10_000, 10_000).map(lambda n: n / 100), min_size=1, max_size=12),
    st.one_of(st.just(0.0), st.floats(1e-300, 1e3)),
    st.integers(1, 12),
    st.floats(1e-6, 1.0),
)
@settings(max_examples=200, deadline=None)
def test_it_is_always_a_distribution_and_keeps_the_most_likely(logits, temperature, top_k, top_p):
    logits = torch.tensor(logits)
    probs = next_token_probs(logits, temperature, min(top_k, len(logits)), top_p)
    assert probs.isfinite().all()
    assert (probs >= 0).all()
    assert probs.sum().item() == pytest.approx(1, abs=1e-5)
    assert probs[logits.argmax()] == probs.max() > 0


def test_half_precision_is_no_trouble():
    logits = torch.tensor([6e4, 1.0, -6e4], dtype=torch.float16)
    probs = next_token_probs(logits, temperature=1e-3, top_k=2, top_p=0.9)
    assert probs.tolist() == [1, 0, 0]


def test_the_logits_are_left_alone():
    logits = torch.randn(3, V)
    before = logits.clone()
    next_token_probs(logits, 0.5, 2, 0.5)
    assert torch.equal(logits, before)


# The drawing


def test_tokens_come_as_often_as_their_probability_says():
    probs = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05, 0.0])
    n = 20_000
    drawn = sample(probs.expand(n, -1), seeded(11))
    assert drawn.shape == (n, 1)
    counts = drawn.flatten().bincount(minlength=6).double()
    assert counts[5] == 0
    expected = n * probs[:5].double()
    chi_square = float(((counts[:5] - expected) ** 2 / expected).sum())
    assert chi_square < 18.5  # 4 degrees of freedom: by chance in one case of a thousand


def test_generated_tokens_follow_the_models_distribution():
    model = BigramModel(4)
    table = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.5, 0.5, 0, 0]])
    model.table.weight.data = table.clamp(min=1e-9).log()
    out = generate(model, torch.full((4000, 1), 2), 3, generator=seeded(12))
    counts = torch.zeros(4, 4, dtype=torch.double)
    for now, then in ((0, 1), (1, 2), (2, 3)):
        counts += (out[:, now] * 4 + out[:, then]).bincount(minlength=16).view(4, 4)
    expected = counts.sum(dim=1, keepdim=True) * table.double()
    assert counts[3, 2:].sum() == 0
    some = expected > 0
    chi_square = float(((counts - expected)[some] ** 2 / expected[some]).sum())
    assert chi_square < 29.6  # 10 degrees of freedom, one case of a thousand


def test_greedy_equals_transformers():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(4)
    config = transformers.GPT2Config(
        vocab_size=31, n_positions=32, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5,
        bos_token_id=0, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()

    class Same(nn.Module):
        """Their model with our call."""

        context_length = 32

        def forward(self, idx, targets=None):
            return theirs(idx).logits, None

    idx = torch.randint(31, (3, 5))
    wanted = theirs.generate(
        idx, attention_mask=torch.ones_like(idx), max_new_tokens=20, do_sample=False
    )
    assert len(wanted[0].unique()) > 4
    assert torch.equal(generate(Same(), idx, 20, temperature=0), wanted)


def test_the_same_seed_gives_the_same_text_and_another_seed_another():
    model = tiny_gpt()
    texts = [generate(model, prompt(), 30, generator=seeded(s)).tolist() for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_generator_leaves_torchs_own_random_numbers_alone():
    torch.manual_seed(9)
    wanted = torch.rand(1)
    torch.manual_seed(9)
    generate(tiny_gpt_kept(), prompt(), 5, generator=seeded())
    assert torch.equal(torch.rand(1), wanted)


def tiny_gpt_kept():
    with torch.random.fork_rng():
        return tiny_gpt()


# The loop


def test_it_goes_on_from_the_prompt():
    out = generate(Counter(), torch.tensor([[3, 4], [7, 8]]), 4)
    assert out.tolist() == [[3, 4, 5, 6, 7, 8], [7, 8, 9, 0, 1, 2]]
    assert out.dtype == torch.int64


def test_no_new_tokens_is_the_prompt_and_the_model_is_not_asked():
    model = Counter()
    assert generate(model, prompt(1, 2), 0).tolist() == [[1, 2]]
    assert list(stream(model, prompt(1, 2), 0)) == []
    assert model.lengths == []


def test_the_prompt_is_not_changed():
    idx = prompt(1, 2)
    generate(Counter(), idx, 3)
    assert idx.tolist() == [[1, 2]]


def test_the_context_is_cropped_to_what_the_model_can_see():
    model = Counter(context_length=3)
    assert generate(model, prompt(1, 2), 4).tolist() == [[1, 2, 3, 4, 5, 6]]
    assert model.lengths == [2, 3, 3, 3]
    model = Counter()
    generate(model, prompt(1, 2), 4)
    assert model.lengths == [2, 3, 4, 5]


def test_a_gpt_writes_past_its_context():
    assert generate(tiny_gpt(), prompt(), 20, generator=seeded()).shape == (1, 22)
    # A prompt longer than the context is welcome too; only its end counts.
    long = torch.tensor([[1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]])
    a = generate(tiny_gpt(), long, 5, temperature=0)[0, 11:]
    b = generate(tiny_gpt(), long[:, -8:], 5, temperature=0)[0, 8:]
    assert torch.equal(a, b)


def test_a_bigram_model_needs_no_cropping():
    assert generate(BigramModel(V), prompt(), 50, generator=seeded()).shape == (1, 52)


def test_rows_of_a_batch_do_not_disturb_each_other():
    model = tiny_gpt()
    idx = torch.tensor([[1, 2, 3], [6, 5, 4]])
    together = generate(model, idx, 10, temperature=0)
    alone = [generate(model, row[None], 10, temperature=0) for row in idx]
    assert torch.equal(together, torch.cat(alone))


def test_stop_tokens_end_a_row_and_a_batch():
    out = generate(Counter(), torch.tensor([[1], [4]]), 10, stop_tokens=[6])
    assert out.tolist() == [[1, 2, 3, 4, 5, 6], [4, 5, 6, 6, 6, 6]]
    several = generate(Counter(), prompt(1), 10, stop_tokens={9, 3})
    assert several.tolist() == [[1, 2, 3]]
    assert generate(Counter(), prompt(8), 10, stop_tokens=[0]).tolist() == [[8, 9, 0]]
    # One in the prompt is only text: it does not stop anything.
    assert generate(Counter(), prompt(6), 3, stop_tokens=[6]).tolist() == [[6, 7, 8, 9]]


def test_streaming_gives_the_same_tokens_one_by_one():
    model = tiny_gpt()
    whole = generate(model, prompt(), 20, top_k=4, generator=seeded(8))
    one_by_one = list(stream(model, prompt(), 20, top_k=4, generator=seeded(8)))
    assert one_by_one == whole[0, 2:].tolist()
    assert all(type(token) is int for token in one_by_one)
    assert list(stream(Counter(), prompt(4), 10, stop_tokens=[6])) == [5, 6]


def test_streaming_asks_the_model_only_when_a_token_is_wanted():
    model = Counter()
    tokens = stream(model, prompt(1), 10)
    assert model.lengths == []
    assert [next(tokens), next(tokens)] == [2, 3]
    assert len(model.lengths) == 2


@pytest.mark.parametrize("mode", [True, False])
def test_evaluation_mode_no_gradients_and_the_mode_put_back(mode):
    model = Counter().train(mode)
    generate(model, prompt(1), 3)
    tokens = stream(model, prompt(1), 3)
    next(tokens)
    assert model.training is mode  # between two tokens too
    assert torch.is_grad_enabled()
    list(tokens)
    assert model.modes == [(False, False)] * 6
    assert model.training is mode

    model.forward = lambda idx: 1 / 0
    with pytest.raises(ZeroDivisionError):
        generate(model, prompt(1), 3)
    assert model.training is mode


def test_dropout_is_off():
    texts = [generate(tiny_gpt(dropout=0.5), prompt(), 20, temperature=0) for _ in range(2)]
    assert torch.equal(*texts)
    assert torch.equal(texts[0], generate(tiny_gpt(), prompt(), 20, temperature=0))


# What goes wrong

BAD_SETTINGS = [
    ("temperature", -0.1, "0 .greedy. or more"),
    ("temperature", math.nan, "0 .greedy. or more"),
    ("temperature", math.inf, "finite"),
    ("temperature", "hot", "finite"),
    ("temperature", None, "finite"),
    ("top_k", 0, f"from 1 to the vocabulary's size, {V}"),
    ("top_k", -3, "from 1 to"),
    ("top_k", V + 1, f"from 1 to the vocabulary's size, {V}"),
    ("top_k", 2.0, "a whole number"),
    ("top_k", True, "a whole number"),
    ("top_k", math.nan, "a whole number"),
    ("top_p", 0.0, "above 0, at most 1"),
    ("top_p", -0.5, "above 0, at most 1"),
    ("top_p", 1.1, "above 0, at most 1"),
    ("top_p", math.nan, "above 0, at most 1"),
    ("top_p", "0.9", "above 0, at most 1"),
]
BAD_CALLS = [
    ("max_new_tokens", -1, "0 or more"),
    ("max_new_tokens", 2.5, "a whole number"),
    ("max_new_tokens", None, "a whole number"),
    ("stop_tokens", [V], f"from 0 to {V - 1}"),
    ("stop_tokens", [-1], f"from 0 to {V - 1}"),
    ("stop_tokens", ["."], f"from 0 to {V - 1}"),
    ("stop_tokens", 3, "a list or set"),
    ("stop_tokens", "ab", f"from 0 to {V - 1}"),
]


@pytest.mark.parametrize(("name", "bad", "allowed"), BAD_SETTINGS)
def test_bad_settings_name_the_argument_and_the_range(name, bad, allowed):
    with pytest.raises(ValueError, match=f"{name} must be .*{allowed}.*got "):
        next_token_probs(torch.zeros(V), **{name: bad})


@pytest.mark.parametrize(("name", "bad", "allowed"), BAD_SETTINGS + BAD_CALLS)
@pytest.mark.parametrize("call", [generate, stream])
def test_bad_calls_are_refused_before_anything_is_drawn(call, name, bad, allowed):
    arguments = {"max_new_tokens": 5, name: bad}
    with pytest.raises(ValueError, match=f"{name} must be .*{allowed}.*got "):
        call(BigramModel(V), prompt(), **arguments)


@pytest.mark.parametrize("call", [generate, stream])
@pytest.mark.parametrize(
    ("idx", "message"),
    [
        (torch.zeros(1, 0, dtype=torch.long), "idx must hold at least one token"),
        (torch.tensor([[0, V]]), f"token id {V}; allowed are 0 to {V - 1}"),
        (torch.tensor([[-1, 0]]), "token id -1; allowed are 0 to"),
        (torch.zeros(0, 2, dtype=torch.long), "idx must hold at least one token"),
        (torch.tensor([1, 2]), r"shape \(B, T\)"),
        (torch.tensor([[1.0, 2.0]]), r"shape \(B, T\)"),
        (torch.tensor([[True]]), r"whole numbers of shape \(B, T\); got torch.bool"),
        ([1, 2], "idx must be a tensor"),
    ],
)
def test_a_bad_prompt(call, idx, message):
    with pytest.raises(ValueError, match=message):
        call(tiny_gpt(), idx, 3)


@pytest.mark.parametrize("call", [generate, lambda *a, **k: list(stream(*a, **k))])
@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0}, {"temperature": 1e-40}, {"top_k": 1}, {"top_k": 3}, {"top_p": 0.5}],
    ids=str,
)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_named_at_every_setting(call, settings, bad):
    model = BigramModel(V)
    model.table.weight.data[2, 4] = bad
    with pytest.raises(ValueError, match=f"logits must have a finite .*; got {bad}.*weights"):
        call(model, prompt(1, 2), 3, **settings)
    call(model, prompt(2, 1), 1, **settings)  # what is not asked for spoils nothing
    assert model.training


def test_one_spoilt_row_is_enough_and_one_without_any_token_too():
    good, ruled_out = torch.zeros(V), torch.full((V,), -math.inf)
    next_token_probs(torch.stack([good, good]))
    for bad in (ruled_out, good.index_fill(0, torch.tensor([3]), math.nan)):
        for temperature in (0, 1):
            with pytest.raises(ValueError, match="logits must have a finite largest number"):
                next_token_probs(torch.stack([good, bad]), temperature)


@pytest.mark.parametrize("call", [generate, lambda *a, **k: list(stream(*a, **k))])
@pytest.mark.parametrize("kind", [torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16])
def test_a_prompt_of_any_whole_numbers_is_welcome(call, kind):
    wanted = call(tiny_gpt(), prompt(1, 2), 4, temperature=0)
    got = call(tiny_gpt(), prompt(1, 2).to(kind), 4, temperature=0)
    assert torch.equal(torch.as_tensor(got), torch.as_tensor(wanted))
    assert torch.as_tensor(got).dtype == torch.int64
    bad = torch.tensor([[V]]).to(kind)
    with pytest.raises(ValueError, match=f"token id {V}; allowed are 0 to {V - 1}"):
        call(tiny_gpt(), bad, 1)


def test_a_model_that_does_not_tell_its_vocabulary_is_asked_all_the_same():
    model = Counter()
    del model.vocab_size
    assert generate(model, prompt(1), 3, stop_tokens=[3]).tolist() == [[1, 2, 3]]
    for arguments, words in (
        ({"idx": prompt(1, -1)}, "idx holds the token id -1; allowed are 0 or more"),
        ({"stop_tokens": [-1]}, "stop_tokens must be token ids 0 or more; got -1"),
        ({"top_k": 0}, "top_k must be a whole number from 1 to the vocabulary's size, V; got 0"),
        ({"top_k": 11}, "top_k must be .* the vocabulary's size, 10; got 11"),
    ):
        with pytest.raises(ValueError, match=words):
            generate(model, **{"idx": prompt(1), "max_new_tokens": 2, **arguments})


def test_only_one_sequence_can_be_streamed():
    with pytest.raises(ValueError, match=r"idx must be one sequence, \(1, T\)"):
        stream(Counter(), torch.tensor([[1], [2]]), 3)
