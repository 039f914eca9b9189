"""The modern GPT as a model of the course: causal, one graph, trained, kept, asked further out.

The comparison with published models is in test_published_models.py, that with a cache in
test_cache.py.
"""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from gptlib.block import TransformerBlock
from gptlib.checkpoint import load_checkpoint, save_checkpoint
from gptlib.experts import balance_loss
from gptlib.given.models import LanguageModel, context_length_of, vocab_size_of
from gptlib.gpt import GPT, GPTConfig, init_gpt2
from gptlib.loss import next_token_loss
from gptlib.modern import MODERN_PRESETS, ModernConfig, ModernGPT
from gptlib.rope import scaled_base
from gptlib.swiglu import SwiGLU
from gptlib.training import TrainConfig, train

V, T = 13, 10
SMALL = {
    "vocab_size": V, "context_length": T, "n_layer": 2, "n_head": 4, "n_kv_head": 2, "n_embd": 16,
    "head_size": 4, "hidden": 24,
}  # fmt: skip
VARIANTS = {
    "plain": {},
    "untied, biases": {"tied": False, "bias": True},
    "sandwich": {"norm": "sandwich", "gating": "geglu"},
    "window": {"window": 3, "full_every": 2},
    "sinks and caps": {"sinks": True, "score_cap": 5.0, "window": 4},
    "no caps, no norms": {"logit_cap": None, "qk_norm": False},
    "experts": {"n_expert": 4, "n_active": 2},
    "experts with a capacity": {"n_expert": 4, "n_active": 2, "capacity": 0.75, "bias": True},
    "all alike": {"n_kv_head": 4, "rope_base": 50.0},
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


def small(seed: int = 0, **changes) -> ModernGPT:
    torch.manual_seed(seed)
    return ModernGPT(ModernConfig(**{**SMALL, **changes}))


def shaken(model: ModernGPT) -> ModernGPT:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def batch(shape=(3, T)) -> tuple[torch.Tensor, torch.Tensor]:
    idx, targets = torch.randint(V, (2, *shape), generator=torch.Generator().manual_seed(1))
    targets[0, 0] = -1
    return idx, targets


# A model of the course ---------------------------------------------------------------------------


@every_variant
def test_it_is_asked_like_any_other_and_the_future_is_not_seen(name):
    model = shaken(small(**VARIANTS[name])).eval()
    idx, targets = batch()
    logits, loss = model(idx, targets)
    assert isinstance(model, LanguageModel)
    assert (context_length_of(model), vocab_size_of(model)) == (T, V)
    assert logits.shape == (3, T, V) and model(idx)[1] is None
    assert loss.item() == pytest.approx(next_token_loss(logits, targets).item())
    for t in range(1, T):
        changed = idx.clone()
        changed[:, t:] = (changed[:, t:] + 1) % V
        after = model(changed)[0]
        assert torch.allclose(after[:, :t], logits[:, :t], atol=1e-5)
        assert not torch.allclose(after[:, t], logits[:, t], atol=1e-3)


def test_logits_are_capped_and_without_a_cap_they_are_not():
    capped, free = shaken(small(logit_cap=0.5)), small(logit_cap=None)
    free.load_state_dict(capped.state_dict())
    idx, _ = batch()
    assert free(idx)[0].abs().max() > 1
    torch.testing.assert_close(capped(idx)[0], 0.5 * torch.tanh(free(idx)[0] / 0.5))


def test_the_loss_in_training_has_the_balance_in_it_and_routes_are_told():
    model, (idx, targets) = shaken(small(n_expert=4, n_active=2, balance=0.5)), batch()
    routes = []
    logits, loss = model.train()(idx, targets, routes=routes)
    assert len(routes) == 2 and routes[0].chosen.shape == (3, T, 2)
    extra = 0.5 * sum(balance_loss(routing) for routing in routes) / 2
    assert extra > 0.4
    assert loss.item() == pytest.approx((next_token_loss(logits, targets) + extra).item())
    _, bare = model.eval()(idx, targets)
    assert bare.item() == pytest.approx((loss - extra).item())
    plain = small().train()
    assert plain(idx, targets, routes=routes)[1] == plain.eval()(idx, targets)[1]
    assert len(routes) == 2


# Whole graphs ------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("scored", [True, False], ids=["targets", "no targets"])
def test_torch_compile_sees_one_graph(name, scored):
    torch._dynamo.reset()
    model, inputs = shaken(small(**VARIANTS[name])).train(scored), batch()[: 1 + scored]
    backend = "aot_eager" if scored else "eager"
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    (logits, loss), (expected, wanted) = compiled(*inputs), model(*inputs)
    torch.testing.assert_close(logits, expected)
    if scored:
        torch.testing.assert_close(loss, wanted)


@every_variant
def test_an_exported_model_may_take_other_batches_and_lengths(name):
    model, inputs = shaken(small(**VARIANTS[name])).eval(), batch((3, T - 2))
    B, length = torch.export.Dim("B", min=2, max=64), torch.export.Dim("T", min=2, max=T)
    shapes = ({0: B, 1: length}, {0: B, 1: length})
    program = torch.export.export(model, inputs, dynamic_shapes=shapes, strict=True)
    other = batch((5, T))
    for ours, theirs in zip(program.module()(*other), model(*other), strict=True):
        torch.testing.assert_close(ours, theirs)


@every_variant
def test_a_forward_needs_no_values_at_all(name):
    """On the device meta, and with fake tensors, a look at one value raises."""
    with torch.device("meta"):
        model = small(**VARIANTS[name])
    logits, _ = model(*(ids.to("meta") for ids in batch()))
    assert logits.shape == (3, T, V) and logits.device.type == "meta"
    with FakeTensorMode() as mode:
        model = small(**VARIANTS[name]).train()
        model(*(mode.from_tensor(ids) for ids in batch()))[1].backward()


@pytest.mark.parametrize("name", ["plain", "window", "experts"])
def test_reading_with_a_cache_needs_no_values_either(name):
    with torch.device("meta"):
        model = small(**VARIANTS[name]).eval()
    cache, idx = model.new_cache(torch.zeros(3, dtype=torch.long, device="meta")), batch()[0]
    for part in idx.to("meta").split([4, 1, 5], dim=1):
        logits, _ = model(part, cache=cache)
    assert logits.shape == (3, 5, V) and cache.read == T


# Trained and kept --------------------------------------------------------------------------------


@every_variant
def test_it_learns(name):
    model, data = small(**VARIANTS[name]), torch.arange(400) * 7 % V
    settings = TrainConfig(
        steps=60, batch_size=8, lr=1e-2, eval_every=60, eval_batches=2, context_length=T
    )
    history = train(model, data, data, settings, progress=False)
    assert history[-1]["val_loss"] < 0.5 < 2 < math.log(V)


def test_a_checkpoint_keeps_it(tmp_path):
    model, other = shaken(small(n_expert=4, n_active=2)), small(1, n_expert=4, n_active=2)
    save_checkpoint(tmp_path / "run", model)
    load_checkpoint(tmp_path / "run", other)
    assert torch.equal(model.eval()(batch()[0])[0], other.eval()(batch()[0])[0])
    with pytest.raises(ValueError, match="window"):
        load_checkpoint(tmp_path / "run", small(n_expert=4, n_active=2, window=3))


def test_the_same_weights_may_be_asked_for_longer_texts():
    model = shaken(small()).eval()
    longer = ModernGPT(replace(model.config, context_length=4 * T)).eval()
    longer.load_state_dict(model.state_dict())
    slower = scaled_base(model.config.rope_base, 4.0, model.config.head_size)
    stretched = ModernGPT(replace(longer.config, rope_base=slower)).eval()
    stretched.load_state_dict(model.state_dict())
    idx, _ = batch((2, 4 * T))
    torch.testing.assert_close(longer(idx[:, :T])[0], model(idx[:, :T])[0])
    assert not torch.allclose(stretched(idx)[0], longer(idx)[0], atol=1e-3)
    torch.testing.assert_close(stretched(idx[:, :1])[0], model(idx[:, :1])[0])
    with pytest.raises(
        ValueError, match="idx has 40 tokens in a sequence, more than context_lengt"
    ):
        model(idx)


# Its start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stories", "stories-experts"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_first_loss_is_that_of_logits_of_variance_1(name, tied):
    """A sum of V numbers e^z is near V · e^(1/2); tied, the token itself adds e^sqrt(C)."""
    torch.manual_seed(0)
    model = ModernGPT(ModernConfig.preset(name, tied=tied, logit_cap=None)).eval()
    idx, targets = torch.randint(1536, (2, 8, 128))
    expected = math.log(1536 * math.exp(0.5) + tied * math.exp(64**0.5))
    assert model(idx, targets)[1].item() == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("n_embd", [32, 256])
def test_at_the_start_a_matrix_hands_on_what_it_gets_however_wide_it_is(n_embd):
    sizes = {"n_embd": n_embd, "head_size": n_embd // 4, "hidden": 2 * n_embd, "bias": True}
    block, x = small(**sizes).blocks[0], torch.randn(400, n_embd)
    wide = small(**sizes, n_expert=4).blocks[0].feed_forward
    outs = [block.attention.qkv(x), block.feed_forward.gate(x), block.feed_forward.expand(x)]
    outs += [wide.linear("gate", x.expand(4, -1, -1)), wide.linear("expand", x.expand(4, -1, -1))]
    for out in outs:
        assert out.std().item() == pytest.approx(1, rel=0.1)


@every_variant
def test_at_the_start_a_block_hands_on_what_comes_in_and_so_all_of_it_learns(name):
    model, x = small(**VARIANTS[name]), torch.randn(2, T, 16)
    for block in model.blocks:
        assert torch.equal(block(x), x)
    for _ in range(2):  # the first step moves the projections, through them the second the rest
        model(*batch())[1].backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * parameter.grad)
    norms = [p.grad.abs().max() for n, p in model.named_parameters() if "after" not in n]
    assert all(norm > 0 for norm in norms)


def test_it_may_start_like_gpt2_instead():
    model = small(n_embd=128)
    init_gpt2(model)
    assert model.blocks[0].attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.blocks[1].feed_forward.project.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_tied_the_table_is_the_head_and_untied_both_start_alike():
    tied, untied = small(), small(tied=False, vocab_size=999)
    assert tied.head.weight is tied.token_embedding.weight
    assert untied.head.weight is not untied.token_embedding.weight
    for table in (untied.head.weight, untied.token_embedding.weight):
        assert table.std().item() == pytest.approx(0.25, rel=0.1)  # 1 / sqrt(16)


# Its configuration -------------------------------------------------------------------------------


def test_the_defaults_are_as_wide_as_gpt2_small_and_take_fewer_parameters():
    config = ModernConfig()
    for name in ("vocab_size", "context_length", "n_layer", "n_head", "n_embd"):
        assert getattr(config, name) == getattr(GPTConfig(), name)
    # No biases, one table, normed queries and keys, one network a block, logits within 30.
    assert not config.bias and config.tied and config.qk_norm and config.n_expert == 1
    assert config.logit_cap == 30 and config.score_cap is None
    with pytest.raises(FrozenInstanceError):
        config.n_layer = 3
    modern = ModernGPT(ModernConfig.preset("stories")).num_parameters()
    assert modern <= GPT(GPTConfig.preset("stories")).num_parameters()


@pytest.mark.parametrize("name", MODERN_PRESETS)
def test_a_preset_is_a_configuration_and_can_be_changed(name):
    config = ModernConfig.preset(name, n_layer=3)
    assert config.n_layer == 3
    assert config == replace(ModernConfig(), **{**MODERN_PRESETS[name], "n_layer": 3})


def test_the_course_s_own_presets_are_as_deep_and_as_wide_as_its_gpt():
    stories, classic = ModernConfig.preset("stories"), GPTConfig.preset("stories")
    for name in ("vocab_size", "context_length", "n_layer", "n_head", "n_embd"):
        assert getattr(stories, name) == getattr(classic, name)
    assert stories.n_head * stories.head_size == stories.n_embd
    # With experts: eight of half the width, and a quarter more room than is fair.
    experts = replace(stories, hidden=stories.hidden // 2, n_expert=8, n_active=2, capacity=1.25)
    assert ModernConfig.preset("stories-experts") == experts


def test_which_layers_see_how_far():
    def windows(**changes):
        return ModernConfig(**{**SMALL, "n_layer": 5, **changes}).windows()

    assert windows() == windows(full_every=2) == [None] * 5
    assert windows(window=7) == [7] * 5
    assert windows(window=7, full_every=2) == [7, None, 7, None, 7]
    assert windows(window=7, full_every=3) == [7, 7, None, 7, 7]
    # Published as every second layer: the first sees a window, the next one all.
    assert ModernConfig.preset("gpt-oss-20b").windows() == [128, None] * 12
    assert ModernConfig.preset("gpt-oss-120b").windows() == [128, None] * 18
    assert ModernConfig.preset("gemma2-2b").windows() == [4096, None] * 13
    model = small(window=7, full_every=2, n_layer=3)
    assert [block.attention.window for block in model.blocks] == [7, None, 7]
    assert [layer.window for layer in model.new_cache().layers] == [7, None, 7]


def test_parameters_without_the_tables():
    model = small(tied=False)
    assert model.num_parameters() - model.num_parameters(embeddings=False) == 2 * V * 16


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"vocab_size": 0}, "vocab_size must be a whole number, 1 or more; got 0"),
        ({"context_length": 1.5}, "context_length must be a whole number, 1 or more; got 1.5"),
        ({"n_layer": -1}, "n_layer must be a whole number"),
        ({"n_embd": 0}, "n_embd must be a whole number"),
        ({"hidden": True}, "hidden must be a whole number"),
        ({"n_kv_head": 3}, "n_head must be divisible by n_kv_head"),
        ({"head_size": 5}, "head_size must be even"),
        ({"window": 0}, "window must be a whole number"),
        ({"full_every": 0}, "full_every must be a whole number, 1 or more; got 0"),
        ({"score_cap": -1.0}, "score_cap must be above 0; got -1.0"),
        ({"logit_cap": 0}, "logit_cap must be above 0; got 0"),
        ({"rope_base": 0.5}, "base must be a finite number above 1"),
        ({"n_expert": 2, "n_active": 3}, "n_active must be at most n_expert, 2; got 3"),
        ({"capacity": -1.0}, "capacity must be a number above 0"),
        ({"balance": -0.1}, "balance must be a finite number, 0 or more; got -0.1"),
        ({"norm": "post"}, "norm must be one of pre, sandwich; got 'post'"),
        ({"gating": "relu"}, "gating must be one of swiglu, geglu, clipped"),
    ],
)
def test_what_makes_no_model_is_refused_when_it_is_written_down(asked, told):
    with pytest.raises(ValueError, match=told):
        ModernConfig(**{**SMALL, **asked})


@pytest.mark.parametrize("value", ["4", [4], {}, 4j, torch.tensor(4.0)], ids=repr)
@pytest.mark.parametrize("field", [field.name for field in fields(ModernConfig)])
def test_a_field_of_another_type_is_named(field, value):
    with pytest.raises(ValueError, match=field.removeprefix("rope_")):
        ModernConfig(**{**SMALL, field: value})


# Its parts in another model ----------------------------------------------------------------------


def test_each_part_fits_into_the_classic_gpt_where_the_old_one_stands():
    """So the chapter can change one thing at a time, with all else as it was."""
    from gptlib.experts import Experts
    from gptlib.grouped import GroupedAttention
    from gptlib.rms_norm import RMSNorm
    from gptlib.rope import Rope

    config = GPTConfig(V, T, n_layer=2, n_head=4, n_embd=16, bias=False)
    parts = {
        "norm_1": lambda: RMSNorm(16),
        "norm_2": lambda: RMSNorm(16),
        "attention": lambda: GroupedAttention(16, 4, 2, 4, rope=Rope(4, T), qk_norm=True),
        "feed_forward": lambda: SwiGLU(16, 40),
        "experts": lambda: Experts(16, 20, 4, 2),
    }
    idx, targets = batch()
    for name, part in parts.items():
        torch.manual_seed(0)
        model = GPT(config)
        before = model(idx)[0]
        for block in model.blocks:
            assert isinstance(block, TransformerBlock)
            setattr(block, "feed_forward" if name == "experts" else name, part())
        logits, loss = model(idx, targets)
        loss.backward()
        assert logits.shape == before.shape and all(p.grad is not None for p in model.parameters())
