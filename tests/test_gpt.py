"""The GPT against transformers' GPT-2, its start, and the counting against models really built."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from gptlib.attention import CausalSelfAttention, attention_weights
from gptlib.gpt import (
    GPT,
    PRESETS,
    GPTConfig,
    flops_per_token,
    non_embedding_parameters,
    parameter_bytes,
    total_parameters,
    training_memory,
    waves,
)

SMALL = {"vocab_size": 61, "context_length": 20, "n_layer": 3, "n_head": 4, "n_embd": 32}
VARIANTS = [
    {},
    {"tied": False},
    {"bias": False},
    {"qkv_bias": False},
    {"bias": False, "qkv_bias": True},
    {"bias": False, "qkv_bias": False, "tied": False},
    {"norm": "post"},
    {"norm": "post", "bias": False},
    {"init": "torch"},
    {"gelu": "none"},
]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(**changes) -> GPT:
    return GPT(GPTConfig(**{**SMALL, **changes}))


def shake(model: torch.nn.Module) -> torch.nn.Module:
    """Random values in every parameter, so that no scale of 1 or shift of 0 hides a mistake."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def copy_from_transformers(ours: GPT, theirs: torch.nn.Module) -> None:
    """Load GPT-2's weights; its Conv1D keeps a matrix as (in, out), a Linear as (out, in)."""
    state = {
        "token_embedding.weight": theirs.transformer.wte.weight,
        "position_embedding.weight": theirs.transformer.wpe.weight,
        "head.weight": theirs.lm_head.weight,
    }
    norms = [("final_norm", theirs.transformer.ln_f)]
    products = []
    for i, block in enumerate(theirs.transformer.h):
        norms += [(f"blocks.{i}.norm_1", block.ln_1), (f"blocks.{i}.norm_2", block.ln_2)]
        products += [
            (f"blocks.{i}.attention.qkv", block.attn.c_attn),
            (f"blocks.{i}.attention.project", block.attn.c_proj),
            (f"blocks.{i}.feed_forward.expand", block.mlp.c_fc),
            (f"blocks.{i}.feed_forward.project", block.mlp.c_proj),
        ]
    state |= {f"{name}.weight": module.weight for name, module in norms}
    state |= {f"{name}.weight": module.weight.T for name, module in products}
    state |= {f"{name}.bias": module.bias for name, module in norms + products}
    ours.load_state_dict(state)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("gelu", "theirs_is"), [("tanh", "gelu_new"), ("none", "gelu")])
def test_logits_and_loss_equal_gpt2_of_transformers(tied, gelu, theirs_is):
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=61,
            n_positions=20,
            n_embd=32,
            n_layer=3,
            n_head=4,
            activation_function=theirs_is,
            tie_word_embeddings=tied,
        )
    )
    theirs, ours = shake(theirs).eval(), small(tied=tied, gelu=gelu).eval()
    copy_from_transformers(ours, theirs)
    assert ours.num_parameters() == sum(p.numel() for p in theirs.parameters())
    idx = torch.randint(61, (3, 20))
    with torch.no_grad():
        logits, loss = ours(idx[:, :-1], idx[:, 1:])
        expected = theirs(idx, labels=idx)
    difference = (logits - expected.logits[:, :-1]).abs().max().item()
    print(f"logits up to {logits.abs().max():.2f}, largest difference {difference:.1e}")
    assert difference < 1e-4
    assert loss.item() == pytest.approx(expected.loss.item(), abs=1e-5)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_editing_the_future_changes_nothing_before_it(norm):
    model = shake(small(norm=norm)).eval()
    idx = torch.randint(61, (3, 20))
    before = model(idx)[0]
    for t in range(1, 20):
        edited = idx.clone()
        edited[:, t:] = (edited[:, t:] + 1) % 61
        after = model(edited)[0]
        assert torch.allclose(after[:, :t], before[:, :t], atol=1e-5)
        assert not torch.allclose(after[:, t], before[:, t], atol=1e-3)


def test_a_prefix_and_a_batch_of_one_are_treated_as_in_the_whole():
    model, idx = small().eval(), torch.randint(61, (3, 20))
    whole = model(idx)[0]
    assert whole.shape == (3, 20, 61)
    for t in (1, 7):
        assert torch.allclose(model(idx[:, :t])[0], whole[:, :t], atol=1e-5)
    assert torch.allclose(model(idx[1:2])[0], whole[1:2], atol=1e-5)


def test_positions_tell_the_order():
    model, idx = shake(small()).eval(), torch.arange(10)[None]
    swapped = idx.clone()
    swapped[0, [2, 5]] = idx[0, [5, 2]]
    moved = model(idx)[0][:, -1] - model(swapped)[0][:, -1]
    assert moved.abs().max().item() > 0.01


@pytest.mark.parametrize("preset", ["nanogpt-cpu", "stories"])
def test_the_loss_starts_near_ln_vocab_size(preset):
    config = GPTConfig.preset(preset)
    idx = torch.randint(config.vocab_size, (4, config.context_length + 1))
    _, loss = GPT(config)(idx[:, :-1], idx[:, 1:])
    assert loss.item() == pytest.approx(math.log(config.vocab_size), abs=0.1)


def test_targets_of_minus_one_are_not_scored():
    model, idx = small(), torch.randint(61, (2, 9))
    logits, _ = model(idx)
    targets = torch.full((2, 9), -1)
    targets[1, 4] = 7
    expected = -torch.log_softmax(logits[1, 4], dim=0)[7]
    assert model(idx, targets)[1].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("n_layer", [2, 8])
def test_gpt2_init(n_layer):
    model = small(n_layer=n_layer, n_embd=128)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert parameter.count_nonzero() == 0
        elif parameter.dim() == 1:
            assert torch.equal(parameter, torch.ones_like(parameter))
        else:
            into_residual = name.endswith(
                ("attention.project.weight", "feed_forward.project.weight")
            )
            std = 0.02 / math.sqrt(2 * n_layer) if into_residual else 0.02
            assert parameter.std().item() == pytest.approx(std, rel=0.1)
            assert abs(parameter.mean().item()) < 0.1 * std


def test_torch_init_draws_the_published_order():
    """The same numbers as separate torch layers, built one after the other."""
    d, vocab_size = SMALL["n_embd"], SMALL["vocab_size"]
    model = small(init="torch", tied=False, qkv_bias=False)
    torch.manual_seed(0)
    expected = [torch.nn.Embedding(vocab_size, d).weight]
    expected.append(torch.nn.Embedding(SMALL["context_length"], d).weight)
    for _ in range(SMALL["n_layer"]):
        q, k, v = (torch.nn.Linear(d, d, bias=False).weight for _ in range(3))
        expected.append(torch.cat([q, k, v]))
        for sizes in ((d, d), (d, 4 * d), (4 * d, d)):
            layer = torch.nn.Linear(*sizes)
            expected += [layer.weight, layer.bias]
    expected.append(torch.nn.Linear(d, vocab_size, bias=False).weight)
    ours = [p for name, p in model.named_parameters() if "norm" not in name]
    for a, b in zip(ours, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("n_embd", [2, 7, 32])
def test_waves_are_those_of_the_paper_and_slower_from_pair_to_pair(n_embd):
    pairs = math.ceil(n_embd / 2)
    table = waves(20, n_embd)
    assert table.shape == (20, n_embd)
    for t in range(20):
        for i in range(n_embd):
            angle = t / 1000 ** (i // 2 / pairs)
            wanted = math.cos(angle) if i % 2 else math.sin(angle)
            assert table[t, i].item() == pytest.approx(wanted, abs=1e-5)


def test_from_one_place_to_the_next_lies_the_same_turn_everywhere():
    sines, cosines = waves(128, 64)[:, ::2].double(), waves(128, 64)[:, 1::2].double()
    turns = torch.atan2(
        sines[1:] * cosines[:-1] - cosines[1:] * sines[:-1],
        cosines[1:] * cosines[:-1] + sines[1:] * sines[:-1],
    )  # (T - 1, C / 2)
    assert torch.allclose(turns, turns[:1].expand_as(turns), atol=1e-5)
    assert (turns[0].diff() < 0).all()  # from pair to pair a slower one
    assert turns[0, [0, -1]].tolist() == pytest.approx([1, 1000 ** (-31 / 32)], rel=1e-3)


def test_positions_begin_as_waves_where_that_is_asked_for_and_are_learned_from_there():
    assert GPTConfig.preset("stories").waves and not GPTConfig().waves
    model, plain = small(waves=True), small()
    start = model.position_embedding.weight
    assert torch.equal(start, 0.08 * waves(20, 32))
    assert start.requires_grad
    assert plain.position_embedding.weight.std().item() == pytest.approx(0.02, rel=0.15)


def test_tied_weights_are_one_parameter():
    tied, untied = small(), small(tied=False)
    assert tied.head.weight is tied.token_embedding.weight
    assert untied.head.weight is not untied.token_embedding.weight
    assert untied.num_parameters() - tied.num_parameters() == 61 * 32


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_counts_equal_the_parameters_of_a_built_model(changes):
    model = small(**changes)
    config = model.config
    seen = {id(p): p.numel() for p in model.parameters()}
    outside = (model.token_embedding, model.position_embedding, model.head)
    embedding_ids = {id(module.weight) for module in outside}
    inside = sum(n for key, n in seen.items() if key not in embedding_ids)
    assert total_parameters(config) == model.num_parameters() == sum(seen.values())
    assert non_embedding_parameters(config) == model.num_parameters(embeddings=False) == inside
    assert parameter_bytes(config) == sum(p.nbytes for p in model.parameters())
    assert parameter_bytes(config, 2) == parameter_bytes(config) // 2


@pytest.mark.parametrize(
    ("bias", "qkv_bias", "names"),
    [
        (False, None, set()),
        (True, None, {"qkv", "project", "expand", "norm_1", "norm_2", "final_norm"}),
        (True, False, {"project", "expand", "norm_1", "norm_2", "final_norm"}),
        (False, True, {"qkv"}),
    ],
)
def test_bias_means_every_bias_unless_qkv_bias_says_otherwise(bias, qkv_bias, names):
    model = small(bias=bias, qkv_bias=qkv_bias)
    biased = {n.split(".")[-2] for n, _ in model.named_parameters() if n.endswith(".bias")}
    assert biased == names
    attention = CausalSelfAttention(32, 4, 20, bias=bias, qkv_bias=qkv_bias)
    assert attention.state_dict().keys() == model.blocks[0].attention.state_dict().keys()


def test_what_was_not_set_follows_bias_when_the_configuration_is_changed():
    bare = replace(GPTConfig(**SMALL), bias=False)
    assert bare == GPTConfig(**SMALL, bias=False)
    assert not any(name.endswith("bias") for name in GPT(bare).state_dict())
    assert total_parameters(bare) == GPT(bare).num_parameters()


@pytest.mark.parametrize(("n_layer", "n_embd"), [(1, 8), (4, 128), (6, 96)])
def test_the_formula_of_the_blocks(n_layer, n_embd):
    model = small(n_layer=n_layer, n_embd=n_embd)
    formula = 12 * n_layer * n_embd**2 + 13 * n_layer * n_embd + 2 * n_embd
    assert formula == non_embedding_parameters(model.config)
    assert formula == model.num_parameters(embeddings=False)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_parameters_the_formula_says(preset):
    config = GPTConfig.preset(preset)
    with torch.device("meta"):  # shapes only, no memory
        model = GPT(config)
    print(f"{preset}: {model.num_parameters():,} parameters")
    assert model.num_parameters() == total_parameters(config)


def test_presets_by_name():
    sizes = {name: GPTConfig.preset(f"gpt2-{name}") for name in ("small", "medium", "large", "xl")}
    shapes = {n: (c.n_embd, c.n_layer, c.n_head) for n, c in sizes.items()}
    assert shapes == {
        "small": (768, 12, 12),
        "medium": (1024, 24, 16),
        "large": (1280, 36, 20),
        "xl": (1600, 48, 25),
    }
    small = {n: GPTConfig.preset(n) for n in ("nanogpt-cpu", "stories")}
    shapes = {
        name: (c.vocab_size, c.context_length, c.n_layer, c.n_head, c.n_embd, c.bias, c.gelu)
        for name, c in small.items()
    }
    assert shapes == {
        "nanogpt-cpu": (65, 64, 4, 4, 128, False, "none"),  # as its README calls train.py
        "stories": (1536, 128, 4, 4, 64, False, "none"),
    }
    assert total_parameters(small["stories"]) == 303_680
    lecture = GPTConfig.preset("lecture-124m")
    assert (lecture.dropout, total_parameters(lecture)) == (0.1, 163_009_536)
    assert GPTConfig.preset("gpt2-small") == GPTConfig()
    assert GPTConfig.preset("stories", n_layer=2).n_layer == 2
    with pytest.raises(FrozenInstanceError):
        GPTConfig().n_layer = 3


@pytest.mark.parametrize("changes", [{}, {"tied": False}, {"n_layer": 1, "context_length": 7}])
def test_flops_equal_what_pytorch_counts(changes):
    model = small(**changes)
    T = model.config.context_length
    idx = torch.randint(61, (2, T))
    # PyTorch counts the products it sees; on the CPU the fused kernel is not among them, so the
    # readable form of the same attention stands in.
    for block in model.blocks:
        block.attention.forward = lambda x, layer=block.attention: by_hand(layer, x)
    with FlopCounterMode(display=False) as forward:
        _, loss = model(idx, idx)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    assert forward.get_total_flops() == 2 * T * flops_per_token(model.config, training=False)
    assert forward.get_total_flops() + backward.get_total_flops() == (
        2 * T * flops_per_token(model.config)
    )
    assert flops_per_token(GPTConfig()) == 854_438_400


def by_hand(layer, x):
    """Causal attention by its explained form."""
    B, T, C = x.size()
    q, k, v = layer.split_heads(x)
    out = attention_weights(q, k, layer.mask[:T, :T]) @ v
    return layer.project(out.transpose(1, 2).reshape(B, T, C))


@pytest.mark.parametrize(
    ("preset", "changes", "batch_size"),
    [
        ("stories", {}, 4),
        ("nanogpt-cpu", {}, 12),
        ("stories", {}, 1),
        # Little but the last norm, and little but the logits.
        ("nanogpt-cpu", {"n_layer": 1, "n_embd": 256, "vocab_size": 3}, 2),
        ("nanogpt-cpu", {"n_layer": 1, "n_embd": 8, "n_head": 1, "vocab_size": 500}, 2),
    ],
)
def test_activation_memory_is_close_to_what_autograd_keeps(preset, changes, batch_size):
    config = GPTConfig.preset(preset, **changes)
    model = GPT(config)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so no address comes twice
        return tensor

    idx = torch.randint(config.vocab_size, (batch_size, config.context_length))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        logits, _loss = model(idx, idx)
    kept[logits.untyped_storage().data_ptr()] = (logits.untyped_storage().nbytes(), logits)
    measured = sum(size for size, _ in kept.values())
    memory = training_memory(config, batch_size)
    print(f"{preset}: {memory['activations']:,} estimated, {measured:,} measured")
    assert memory["activations"] == pytest.approx(measured, rel=0.02)


def test_memory_of_weights_gradients_and_optimizer_is_what_a_step_leaves():
    model = small()
    optimizer = torch.optim.AdamW(model.parameters())
    idx = torch.randint(61, (2, 20))
    model(idx, idx)[1].backward()
    optimizer.step()
    memory = training_memory(model.config, batch_size=2)
    assert memory["weights"] == sum(p.nbytes for p in model.parameters())
    assert memory["gradients"] == sum(p.grad.nbytes for p in model.parameters())
    averages = [
        state[name].nbytes
        for state in optimizer.state.values()
        for name in ("exp_avg", "exp_avg_sq")
    ]
    assert memory["optimizer"] == sum(averages)


def test_dropout_reaches_every_place_and_acts_in_training_only():
    model, idx = small(dropout=0.2), torch.randint(61, (2, 9))
    rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert rates == [0.2] * (1 + 2 * SMALL["n_layer"])
    inputs = []
    model.blocks[0].register_forward_pre_hook(lambda block, args: inputs.append(args[0]))
    model(idx)
    assert (inputs[0] == 0).float().mean().item() == pytest.approx(0.2, abs=0.07)
    assert not torch.equal(model(idx)[0], model(idx)[0])
    model.eval()
    assert torch.equal(model(idx)[0], model(idx)[0])


def test_a_small_gpt_learns_a_batch_by_heart():
    model = small()
    idx = torch.randint(61, (2, 21))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        _, loss = model(idx[:, :-1], idx[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_embd": 30}, "n_embd must be divisible by n_head; got n_embd 30 and n_head 4"),
        ({"n_head": 0}, "n_head must be a whole number, 1 or more; got 0"),
        ({"vocab_size": 0}, "vocab_size must be a whole number, 1 or more; got 0"),
        ({"context_length": -1}, "context_length must be a whole number, 1 or more; got -1"),
        ({"n_layer": 2.0}, "n_layer must be a whole number, 1 or more; got 2.0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1; got 1.0"),
        ({"norm": "none"}, "norm must be one of pre, post; got 'none'"),
        ({"init": "zero"}, "init must be one of gpt2, torch; got 'zero'"),
        ({"gelu": "erf"}, "gelu must be one of tanh, none; got 'erf'"),
    ],
)
def test_a_bad_configuration_names_the_field_and_what_is_allowed(changes, words):
    with pytest.raises(ValueError, match=words):
        GPTConfig(**{**SMALL, **changes})


@pytest.mark.parametrize(
    ("idx", "words"),
    [
        (
            torch.zeros(1, 21, dtype=torch.long),
            ["21", "context_length 20", "1 to 20", "idx[:, -20:]"],
        ),
        (torch.zeros(2, 0, dtype=torch.long), ["at least one token", "1 to 20", "Begin with"]),
        (torch.zeros(0, 2, dtype=torch.long), ["at least one token", "(0, 2), no sequence"]),
        (torch.tensor([1, 2]), ["(B, T)", "(2,)", "idx[None]"]),
        (torch.tensor(1), ["(B, T)", "got ()."]),
        (torch.tensor([[[1]]]), ["(B, T)", "got (1, 1, 1)."]),
        (torch.tensor([[0.5]]), ["whole numbers", "float32"]),
        (torch.tensor([[True]]), ["whole numbers", "bool"]),
        (torch.tensor([[1j]]), ["whole numbers", "complex64"]),
        *[
            (torch.tensor([[1]]).to(kind), ["torch.int64 or torch.int32", str(kind), "idx.long()"])
            for kind in (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.uint64)
        ],
        ([[1, 2]], ["idx must be a tensor", "list", "torch.tensor([[0, 1, 2]])"]),
        (torch.tensor([[1]]).numpy(), ["idx must be a tensor", "ndarray"]),
    ],
)
def test_the_model_refuses_what_it_cannot_read(idx, words):
    with pytest.raises(ValueError) as error:
        small()(idx)
    assert "idx" in str(error.value)
    for word in words:
        assert word in str(error.value)
    if torch.is_tensor(idx) and idx.dim() > 2:
        assert "idx[None]" not in str(error.value)  # it would not help


def test_the_advice_helps():
    model, long, row = small(), torch.zeros(1, 21, dtype=torch.long), torch.tensor([1, 2])
    assert model(long[:, -20:])[0].shape == (1, 20, 61)
    assert model(row[None])[0].shape == model(row[None].to(torch.uint8).long())[0].shape
    assert torch.equal(model(row[None].int())[0], model(row[None])[0])


def test_ids_are_not_looked_at():
    # `get_batch`, `train` and `generate` look, once; here the table itself refuses on a CPU.
    for bad in (-1, 61):
        with pytest.raises(IndexError, match="index out of range"):
            small()(torch.tensor([[bad]]))


def test_other_errors_name_what_is_allowed():
    idx = torch.zeros(1, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"targets must .* the shape of idx, \(1, 4\).*\(1, 3\)"):
        small()(idx, idx[:, 1:])
    with pytest.raises(ValueError, match=r"name must be one of gpt2-small, .*; got 'gpt3'"):
        GPTConfig.preset("gpt3")
    with pytest.raises(ValueError, match="batch_size must be a whole number, 1 or more; got 0"):
        training_memory(GPTConfig(), 0)
