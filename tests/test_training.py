"""The training loop: its parts against torch's own, the whole against a loop written out here."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from gptlib.batches import get_batch, train_val_split
from gptlib.bigram import BigramModel, conditional_entropy, count_bigrams
from gptlib.given.checks.recipe import check_data
from gptlib.given.records import record
from gptlib.gpt import GPT, GPTConfig
from gptlib.training import (
    History,
    TrainConfig,
    backward,
    learning_rate,
    make_optimizer,
    parameter_groups,
    pick_device,
    train,
)

DATA = torch.arange(400) * 3 % 7
TINY = {"vocab_size": 7, "context_length": 8, "n_layer": 1, "n_head": 2, "n_embd": 16}
SHORT = {"steps": 6, "batch_size": 4, "lr": 1e-2, "eval_every": 3, "eval_batches": 2}


def tiny_gpt(**changes):
    torch.manual_seed(1)
    return GPT(GPTConfig(**{**TINY, **changes}))


def short(**changes):
    return TrainConfig(**{**SHORT, "device": "cpu", **changes})


def quiet_train(model, config, data=DATA, **more):
    return train(model, data, data[:100], config, progress=False, **more)


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


class Fake(nn.Module):
    """Records what it is asked; its loss is what the test says, times a parameter."""

    def __init__(self, loss=1.0, context_length=4):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, 2))
        self.loss, self.context_length, self.seen = loss, context_length, []

    def forward(self, idx, targets=None):
        self.seen.append((self.training, torch.is_grad_enabled(), idx.clone()))
        logits = torch.zeros(*idx.shape, 7) + self.scale.sum()
        return logits, self.scale.sum() * self.loss


# The learning rate


def test_learning_rate_worked_values():
    config = TrainConfig(steps=100, warmup_steps=10, lr=1e-3)
    rates = [learning_rate(step, config) for step in (5, 10, 55, 100)]
    assert rates == pytest.approx([5e-4, 1e-3, 5.5e-4, 1e-4])


def test_learning_rate_equals_torchs_schedulers():
    config = TrainConfig(steps=50, warmup_steps=8, lr=3e-3, min_lr_ratio=0.25)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.lr)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 8, 1.0, total_iters=7)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=42, eta_min=7.5e-4)
    both = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[7])
    for step in range(1, 51):
        assert learning_rate(step, config) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        both.step()


@pytest.mark.parametrize("warmup", [0, 1, 19, 20])
def test_learning_rate_ends_low_and_is_never_above_the_peak(warmup):
    config = TrainConfig(steps=20, warmup_steps=warmup, lr=1.0)
    rates = [learning_rate(step, config) for step in range(1, 21)]
    assert max(rates) <= 1.0
    assert all(rate > 0 for rate in rates)
    assert rates[-1] == pytest.approx(1.0 if warmup == 20 else 0.1)


def test_warmup_by_default_is_a_tenth_of_the_steps_and_at_most_a_hundred():
    assert TrainConfig(steps=50).warmup == 5
    assert TrainConfig(steps=99).warmup == 9
    assert TrainConfig(steps=1001).warmup == 100
    assert TrainConfig(steps=5000).warmup == 100


def test_the_books_decay_leaves_93_per_cent_of_a_weight_that_nothing_holds():
    config = TrainConfig.preset("stories")
    steps = range(1, config.steps + 1)
    rates = [learning_rate(step, config) for step in steps]
    assert sum(rates) / len(rates) == pytest.approx(0.0022, abs=5e-5)
    for decay, left in ((config.weight_decay, 0.93), (0.1, 0.51)):
        assert math.prod(1 - rate * decay for rate in rates) == pytest.approx(left, abs=6e-3)


def test_what_was_not_set_stays_unset_when_other_fields_change():
    book = TrainConfig.preset("stories")
    assert (book.warmup_steps, book.warmup) == (None, 100)
    assert replace(book, steps=50).warmup == 5
    assert replace(TrainConfig(steps=50), steps=5000).warmup == 100
    assert TrainConfig(steps=50, warmup_steps=0).warmup == 0  # set, and no default
    with pytest.raises(ValueError, match="warmup_steps must be a whole number from 0 to steps, 50"):
        replace(TrainConfig(warmup_steps=60), steps=50)


def test_recipes_by_name_and_single_fields_changed():
    # nanoGPT's published recipe for the CPU
    recipe = TrainConfig.preset("nanogpt-cpu", seed=7)
    assert (recipe.steps, recipe.batch_size, recipe.lr, recipe.seed) == (2000, 12, 1e-3, 7)
    assert (recipe.betas, recipe.warmup, recipe.min_lr_ratio) == ((0.9, 0.99), 100, 0.1)
    # nanoGPT's defaults for GPT-2
    usual = TrainConfig()
    assert (usual.betas, usual.weight_decay, usual.grad_clip) == ((0.9, 0.95), 0.1, 1.0)
    assert usual.min_lr_ratio == 0.1
    # the book's recipe is the one that its recorded run was made with
    book, run = TrainConfig.preset("stories"), record("skills")["gpt"]["curve"]
    assert [point["step"] for point in run] == [*range(0, book.steps, book.eval_every), book.steps]
    context = GPTConfig.preset("stories").context_length
    assert run[-1]["tokens"] == book.steps * book.batch_size * context
    assert (book.lr, book.weight_decay) == (record("long_run")["recipe"]["lr"], 0.01)
    with pytest.raises(ValueError, match=r"name must be one of .*nanogpt-cpu.*got 'gpt-5'"):
        TrainConfig.preset("gpt-5")


# Which parameters decay


def test_matrices_decay_and_vectors_do_not_and_a_tied_weight_stands_once():
    model = tiny_gpt(bias=True, tied=True)
    decayed, kept = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in kept["params"]} == {
        n for n in names.values() if n.endswith("bias") or "norm" in n
    }
    both = decayed["params"] + kept["params"]
    assert len({id(p) for p in both}) == len(both)
    assert sum(p.numel() for p in both) == model.num_parameters()


def test_a_frozen_parameter_is_left_out():
    model = tiny_gpt()
    model.token_embedding.weight.requires_grad_(False)
    groups = parameter_groups(model, 0.1)
    assert all(p is not model.token_embedding.weight for g in groups for p in g["params"])


def test_decay_moves_only_what_should_decay():
    # With no gradient at all, AdamW's only force is decay: a factor 1 - lr * weight_decay.
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, TrainConfig(lr=0.5, weight_decay=0.2))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        factor = 0.9 if name == "0.weight" else 1.0
        torch.testing.assert_close(p.detach(), before[name] * factor)


# The loop


def test_the_run_equals_a_loop_written_out():
    config = short(steps=8, grad_accumulation=2, grad_clip=0.5, warmup_steps=2)
    # Without biases: the one of the keys has a gradient of 0, and AdamW makes steps of its noise.
    model, ours = tiny_gpt(qkv_bias=False), tiny_gpt(qkv_bias=False)
    history = quiet_train(ours, config)

    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(0)
    for n in range(1, 9):
        cosine = (1 + math.cos(math.pi * (n - 2) / 6)) / 2
        lr = 0.01 * n / 2 if n <= 2 else 0.001 + 0.009 * cosine
        for group in optimizer.param_groups:
            group["lr"] = lr
        draws = [get_batch(DATA, 4, 8, generator=generator) for _ in range(2)]
        x, y = (torch.cat(parts) for parts in zip(*draws, strict=True))
        optimizer.zero_grad()
        model(x, y)[1].backward()
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        for p in model.parameters():
            p.grad *= min(1.0, 0.5 / norm.item())
        optimizer.step()
    for a, b in zip(model.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert history[-1]["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)
    assert history[-1]["lr"] == pytest.approx(0.001)
    assert history[-1]["tokens"] == 8 * 2 * 4 * 8


def test_accumulated_gradients_equal_those_of_the_big_batch():
    model = tiny_gpt()
    x, y = get_batch(DATA, 12, 8, generator=torch.Generator().manual_seed(3))
    loss = backward(model, [(x, y)])
    assert loss == pytest.approx(model(x, y)[1].item())
    big = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    parts = backward(model, list(zip(x.split(3), y.split(3), strict=True)))
    assert parts == pytest.approx(loss)
    for p, gradient in zip(model.parameters(), big, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-4, atol=1e-6)


def test_no_clipping_on_request():
    model = Fake(loss=100.0)
    history = quiet_train(model, short(steps=1, grad_clip=None))
    assert history[-1]["grad_norm"] == pytest.approx(200.0)
    torch.testing.assert_close(model.scale.grad, torch.full((2, 2), 100.0))
    quiet_train(model, short(steps=1, grad_clip=1.0))
    assert model.scale.grad.norm().item() == pytest.approx(1.0, rel=1e-4)


def test_it_learns():
    history = quiet_train(tiny_gpt(), short(steps=60, batch_size=8))
    assert history[0]["val_loss"] == pytest.approx(math.log(7), abs=0.1)
    assert history[-1]["val_loss"] < 0.2


def test_evaluation_sees_evaluation_mode_and_updates_see_training_mode():
    model = Fake()
    quiet_train(model, short(steps=2, eval_every=2, eval_batches=3, batch_size=2))
    # 3 batches of each split, two updates, 3 batches of each split again
    assert [mode for mode, _, _ in model.seen] == [False] * 6 + [True] * 2 + [False] * 6
    assert [grad for _, grad, _ in model.seen] == [False] * 6 + [True] * 2 + [False] * 6


@pytest.mark.parametrize("mode", [True, False])
def test_the_model_is_left_in_the_mode_it_was_in(mode):
    model = Fake().train(mode)
    quiet_train(model, short(steps=1))
    assert model.training is mode

    def stop(step, model, metrics):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quiet_train(model, short(steps=1), callbacks=[stop])
    assert model.training is mode


def test_looking_does_not_change_the_run():
    models = [tiny_gpt(dropout=0.3) for _ in range(2)]
    quiet_train(models[0], short(steps=6, eval_every=6))

    def look(step, model, metrics):
        torch.rand(5)
        assert not model.training
        assert not torch.is_grad_enabled()

    quiet_train(models[1], short(steps=6, eval_every=1, eval_batches=5), callbacks=[look])
    assert same_weights(*models)


def test_the_seed_decides_data_and_dropout():
    def weights(seed, **changes):
        model = tiny_gpt(**changes)
        torch.rand(seed + 5)  # whatever was drawn before must not matter
        quiet_train(model, short(seed=seed))
        return model

    assert same_weights(weights(3, dropout=0.2), weights(3, dropout=0.2))
    assert not same_weights(weights(3), weights(4))
    assert not same_weights(weights(3), weights(3, dropout=0.2))


def test_callbacks_are_called_at_the_start_and_after_every_update():
    calls = []
    history = quiet_train(
        tiny_gpt(), short(steps=4, eval_every=3), callbacks=[lambda s, m, d: calls.append((s, d))]
    )
    assert [step for step, _ in calls] == [0, 1, 2, 3, 4]
    assert ["val_loss" in metrics for _, metrics in calls] == [True, False, False, True, True]
    assert [metrics["loss"] is None for _, metrics in calls] == [True] + [False] * 4
    assert history.column("step") == [0, 3, 4]
    assert history.column("tokens") == [0, 3 * 32, 4 * 32]
    for point in history:
        expected = "step train_loss val_loss loss lr grad_norm tokens seconds"
        assert set(point) == set(expected.split())


def test_before_the_first_update_nothing_was_learned_seen_or_spent():
    first = quiet_train(tiny_gpt(), short(steps=1))[0]
    told = ("step", "loss", "lr", "grad_norm", "tokens", "seconds")
    assert [first[name] for name in told] == [0, None, 0.0, None, 0, 0.0]


def test_seconds_are_those_of_the_updates_and_not_of_looking(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("gptlib.training.time.perf_counter", lambda: now[0])

    def pass_time(seconds):
        now[0] += seconds

    model = Fake()
    model.register_forward_hook(lambda *a: pass_time(2) if model.training else pass_time(50))
    look = lambda step, model, metrics: pass_time(1000)  # noqa: E731
    history = quiet_train(model, short(grad_accumulation=3), callbacks=[look])
    assert history.column("seconds") == [0, 3 * 6, 6 * 6]


def test_an_evaluation_looks_at_other_windows_than_the_first_updates():
    model = Fake()
    quiet_train(model, short(steps=1, eval_batches=1), torch.arange(400) % 97)
    looked, learned = (
        [idx for mode, _, idx in model.seen if mode is wanted] for wanted in (False, True)
    )
    assert not torch.equal(looked[0], learned[0])


def test_gradients_are_there_for_callbacks_to_look_at():
    norms = []

    def look(step, model, metrics):
        if step:
            norms.append(sum(float(p.grad.norm()) for p in model.parameters()))

    quiet_train(tiny_gpt(), short(), callbacks=[look])
    assert len(norms) == 6
    assert min(norms) > 0


def test_own_evaluation_replaces_the_default():
    history = quiet_train(
        Fake(), short(), evaluate=lambda model: {"skill": float(model.scale[0, 0])}
    )
    assert "val_loss" not in history[0]
    assert history[0]["skill"] == 1.0
    assert history[-1]["skill"] < 1.0


def test_validation_data_may_be_left_out():
    history = train(tiny_gpt(), DATA, None, short(), progress=False)
    assert "val_loss" not in history[-1]
    assert history[-1]["train_loss"] > 0


def test_windows_begin_at_the_starts():
    model = Fake()
    data = torch.arange(100)
    more = {"starts": torch.tensor([10, 20]), "val_starts": torch.tensor([33])}
    config = short(steps=3, eval_every=3, eval_batches=1, batch_size=8)
    train(model, data, data, config, progress=False, **more)
    first = [set(idx[:, 0].tolist()) for _, _, idx in model.seen]
    assert first[2:5] == [{10, 20}] * 3  # updates
    assert first[0] == {10, 20}  # training loss
    assert first[1] == {33}  # validation loss


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["uint16", "int32", "uint8"])
def test_a_memory_map_is_data_like_any_other(tmp_path, kind):
    np = pytest.importorskip("numpy")
    DATA.numpy().astype(kind).tofile(tmp_path / "ids")
    ids = np.memmap(tmp_path / "ids", dtype=kind, mode="r")
    models = [tiny_gpt(), tiny_gpt()]
    histories = [
        quiet_train(model, short(), data, checkpoint=tmp_path / "run", callbacks=[])
        for model, data in zip(models, (DATA, ids), strict=True)
    ]
    assert same_weights(*models)
    assert histories[0].column("val_loss") == histories[1].column("val_loss")
    quiet_train(tiny_gpt(), short(), DATA, resume=tmp_path / "run")  # the same ids


def test_a_memory_map_is_not_copied(tmp_path):
    np = pytest.importorskip("numpy")
    ids = np.memmap(tmp_path / "ids", dtype="uint16", mode="w+", shape=1000)
    row, _ = check_data(short(context_length=8), ids, None)
    assert row.data_ptr() == ids.ctypes.data


@pytest.mark.parametrize("bad", [torch.rand(100), torch.ones(100).bool()])
def test_data_of_other_numbers_is_named(bad):
    with pytest.raises(ValueError, match="train_data must hold whole numbers"):
        quiet_train(tiny_gpt(), short(), bad)


def test_every_evaluation_draws_the_same_windows():
    model = Fake()
    quiet_train(model, short(steps=2, eval_every=1, eval_batches=1))
    looks = [idx for mode, _, idx in model.seen if not mode]
    assert torch.equal(looks[0], looks[2])
    assert torch.equal(looks[1], looks[3])


def test_a_model_without_a_context_needs_one_in_the_config():
    with pytest.raises(ValueError, match="context_length must be set"):
        quiet_train(BigramModel(7), short())
    history = quiet_train(BigramModel(7), short(context_length=16, steps=100, lr=0.3))
    assert history[-1]["tokens"] == 100 * 4 * 16
    assert history[-1]["val_loss"] < 0.1


def test_a_shorter_context_than_the_models():
    model = Fake(context_length=4)
    quiet_train(model, short(context_length=2))
    assert {idx.shape[1] for _, _, idx in model.seen} == {2}
    with pytest.raises(ValueError, match="context_length must be 1 to 4"):
        quiet_train(model, short(context_length=5))


# What goes wrong


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_are_spoiled(loss):
    model = Fake()

    def spoil(step, model, metrics):
        model.loss = loss if step == 2 else 1.0

    with pytest.raises(FloatingPointError, match=r"At step 3 .*Try a lower lr"):
        quiet_train(model, short(eval_every=100), callbacks=[spoil])
    assert model.scale.isfinite().all()


@pytest.mark.parametrize(
    ("name", "bad", "allowed"),
    [
        ("steps", 0, "1 or more"),
        ("steps", 10.0, "a whole number"),
        ("steps", True, "a whole number"),
        ("steps", "10", "a whole number"),
        ("batch_size", -1, "1 or more"),
        ("grad_accumulation", 0, "1 or more"),
        ("eval_every", 0, "1 or more"),
        ("eval_batches", 0, "1 or more"),
        ("context_length", 0, "1 or more"),
        ("lr", 0.0, "above 0"),
        ("lr", math.nan, "above 0"),
        ("lr", math.inf, "above 0"),
        ("lr", "1e-3", "above 0"),
        ("grad_clip", 0.0, "above 0"),
        ("weight_decay", -0.1, "0 or more"),
        ("min_lr_ratio", 1.5, "0 to 1"),
        ("min_lr_ratio", math.nan, "0 to 1"),
        ("warmup_steps", 1001, "0 to steps, 1000"),
        ("warmup_steps", -1, "0 to steps, 1000"),
        ("warmup_steps", 0.1, "a whole number"),
        ("seed", -1, "0 to"),
        ("betas", (0.9,), "two numbers"),
        ("betas", (0.9, 1.0), "below 1"),
        ("betas", (-0.1, 0.9), "each from 0"),
        ("betas", 0.9, "two numbers"),
        ("betas", ("a", "b"), "two numbers"),
    ],
)
def test_bad_settings_name_the_argument_and_the_range(name, bad, allowed):
    with pytest.raises(ValueError, match=f"{name} must be .*{allowed}.*got "):
        TrainConfig(**{name: bad})


@pytest.mark.parametrize("name", ["train_data", "val_data"])
@pytest.mark.parametrize("bad", [torch.arange(8), torch.zeros(10, 10).long(), [0] * 100])
def test_data_that_does_not_fit_is_named(name, bad):
    data = {"train_data": DATA, "val_data": DATA, name: bad}
    with pytest.raises(ValueError, match=rf"{name} must be .*context_length \+ 1 = 9"):
        train(tiny_gpt(), **data, config=short(), progress=False)


def test_auto_takes_the_best_device_there_is(monkeypatch):
    def there(cuda, mps):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        return pick_device("auto").type

    assert [there(True, True), there(False, True), there(False, False)] == ["cuda", "mps", "cpu"]


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "cpu:x", None, "meta x"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ValueError, match="device must be"):
        pick_device(name)


# What one sees of it


def test_the_progress_bar_shows_and_can_be_switched_off(capfd):
    quiet_train(tiny_gpt(), short())
    assert capfd.readouterr() == ("", "")
    train(tiny_gpt(), DATA, DATA, short())
    shown = capfd.readouterr().err
    assert "6/6" in shown
    assert "val_loss=" in shown


def test_history_as_json(tmp_path):
    history = quiet_train(tiny_gpt(), short())
    path = tmp_path / "run.json"
    assert history.to_json(path) == path.read_text()
    assert json.loads(path.read_text()) == list(history)
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
    assert isinstance(history, History)
    odd = History([{"skill": torch.tensor(0.5), "shares": torch.tensor([1, 2])}])
    assert json.loads(odd.to_json()) == [{"skill": 0.5, "shares": [1, 2]}]


# The real thing


def test_tiny_shakespeare_below_the_floor_of_every_bigram(shared_data):
    text = (shared_data / "tinyshakespeare.txt").read_text(encoding="utf-8")
    ids_of = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([ids_of[c] for c in text])
    train_ids, val_ids = train_val_split(ids)
    V = len(ids_of)
    # The best that any bigram table can do on this very text, even one made from it.
    floor = conditional_entropy(count_bigrams(val_ids, V))
    assert floor < conditional_entropy(count_bigrams(ids, V))
    torch.manual_seed(0)
    shape = {"context_length": 32, "n_layer": 1, "n_head": 2, "n_embd": 64}
    model = GPT(GPTConfig(V, **shape, bias=False, qkv_bias=False))
    config = TrainConfig(
        steps=600, batch_size=12, lr=1e-2, eval_every=600, eval_batches=100, device="cpu"
    )
    history = train(model, train_ids, val_ids, config, progress=False)
    assert history[-1]["val_loss"] < floor - 0.1
