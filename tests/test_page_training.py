"""A GPT that is trained in the page, beside PyTorch: products, gradients, updates, whole runs."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from scripts import run_script
from test_page_model import built, exported, letters

from gptlib import corpus
from gptlib.attention import CausalSelfAttention
from gptlib.batches import get_batch
from gptlib.gpt import GPT, GPTConfig
from gptlib.loss import next_token_loss
from gptlib.muon import Muon, orthogonalise
from gptlib.recipe import TrainConfig, learning_rate
from gptlib.tokenizer import CharTokenizer
from gptlib.training import Run, make_optimizer
from gptlib.widgets.model_file import model_bytes

# A model as a file brings it, in the room where it is trained.
OPEN = """
if (given.plain) globalThis.WebAssembly = undefined;
const { readModel } = await module("model_file.js");
const { roomFor, gpt_back, gpt_forward } = await module("by_hand_gpt.js");
const { adamw_step, learning_rate, init_gpt2 } = await module("adamw.js");
const opened = readModel(data);
const room = roomFor(opened.config, given.B ?? 1);
for (const [name, w] of Object.entries(opened.weights)) room.weights[name].set(w);
"""
FOUR = {
    "1 layer, biases, tied, GPT-2's GELU": GPTConfig(
        vocab_size=65, context_length=24, n_layer=1, n_head=1, n_embd=17
    ),
    "2 layers, no biases, tied": GPTConfig(
        vocab_size=71, context_length=20, n_layer=2, n_head=4, n_embd=32, bias=False, gelu="none"
    ),
    "3 layers, biases but in qkv, untied": GPTConfig(
        vocab_size=64, context_length=24, n_layer=3, n_head=3, n_embd=30,
        tied=False, qkv_bias=False, gelu="none",
    ),
    "4 layers, biases, untied, GPT-2's GELU": GPTConfig(
        vocab_size=40, context_length=16, n_layer=4, n_head=2, n_embd=16, tied=False
    ),
}  # fmt: skip
BOTH = pytest.mark.parametrize("plain", [False, True], ids=["SIMD", "no WebAssembly"])


def batch(config: GPTConfig, B: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids and targets (B, T), some of them not scored."""
    generator = torch.Generator().manual_seed(seed)
    shape = (B, config.context_length)
    idx = torch.randint(config.vocab_size, shape, generator=generator)
    targets = torch.randint(config.vocab_size, shape, generator=generator)
    targets[0, 3] = targets[-1, 0] = -1
    return idx, targets


# The product -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "n", "size"), [(64, 24, 16), (13, 9, 7), (4, 8, 1), (130, 16, 33), (3, 70, 64), (1, 1, 5)]
)
@pytest.mark.parametrize("form", ["A·B", "Aᵀ·B", "A·Bᵀ"])
@pytest.mark.parametrize("bits", [32, 64])
@BOTH
def test_the_product_in_all_three_forms(m, n, size, form, bits, plain):
    """Set, then added to; what stands beside the result keeps what it had."""
    generator = torch.Generator().manual_seed(m + n)
    kind = {"dtype": torch.float if bits == 32 else torch.double, "generator": generator}
    a, b = torch.randn(m, size, **kind), torch.randn(size, n, **kind)
    code = """
        if (given.plain) globalThis.WebAssembly = undefined;
        const { workshop } = await module("product.js");
        const { m, n, size, form, bits } = given, wide = n + 3;
        const made = workshop(m * size + size * n + m * wide + 12, size * n, size, bits);
        const [a, b, out] = [m * size, size * n, m * wide].map(made.take), { multiply } = made;
        a.set(given.a.flat()); b.set(given.b.flat()); out.fill(7);
        const A = form === "Aᵀ·B" ? [1, m] : [size, 1], B = form === "A·Bᵀ" ? [1, size] : [n, 1];
        multiply(out, wide, m, n, size, a, ...A, b, ...B);
        const once = out.slice();
        multiply(out, wide, m, n, size, a, ...A, b, ...B, true);
        return [once, out, made.simd];
    """
    laid = {"a": a.T if form == "Aᵀ·B" else a, "b": b.T if form == "A·Bᵀ" else b}
    laid = {name: matrix.tolist() for name, matrix in laid.items()}
    given = {"m": m, "n": n, "size": size, "form": form, "plain": plain, "bits": bits, **laid}
    once, twice, simd = run_script(code, given)
    assert simd is not plain
    for found, times in ((once, 1), (twice, 2)):
        found, near = (
            torch.tensor(found, dtype=a.dtype).view(m, n + 3),
            2e-5 if bits == 32 else 1e-12,
        )
        torch.testing.assert_close(found[:, :n], times * (a @ b), atol=near, rtol=0)
        assert (found[:, n:] == 7).all()


def test_a_product_that_does_not_fit_is_refused():
    code = """
        const { workshop } = await module("product.js");
        const { take, multiply } = workshop(64, 16, 4), a = take(32), b = take(32), out = take(64);
        try { multiply(out, 8, 8, 8, 8, a, 4, 1, b, 8, 1); } catch (error) { return error.message; }
    """
    assert run_script(code) == "a product of 8 by 8 sums of 8 does not fit into the workshop"


# Gradients ---------------------------------------------------------------------------------------


def gradients(model: GPT, idx: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(idx, targets)[1].backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("config", FOUR.values(), ids=FOUR)
@BOTH
def test_every_gradient_is_that_of_pytorch(config, plain):
    """To 1e-4 of the largest of its tensor; twice as much where the old ones stay; and the loss."""
    model = built(config)
    idx, targets = batch(config, 3)
    code = OPEN + """
        const [idx, targets] = [given.idx.flat(), given.targets.flat()];
        const loss = gpt_back(idx, targets, room);
        const copies = Object.entries(room.grads).map(([name, g]) => [name, g.slice()]);
        const once = Object.fromEntries(copies);
        gpt_back(idx, targets, room);
        return [loss, once, room.grads];
    """  # fmt: skip
    given = {"B": 3, "idx": idx.tolist(), "targets": targets.tolist(), "plain": plain}
    loss, once, twice = run_script(code, given, exported(model))
    wanted = gradients(model, idx, targets)
    assert loss == pytest.approx(model(idx, targets)[1].item(), rel=1e-5)
    assert once.keys() == wanted.keys()
    for name, grad in wanted.items():
        limit = 1e-4 * grad.abs().max().item()
        for found, times in ((once, 1), (twice, 2)):
            got = torch.tensor(found[name]).view_as(grad)
            torch.testing.assert_close(got, times * grad, atol=times * limit, rtol=0, msg=name)


def test_without_its_mask_a_token_looks_ahead():
    config = FOUR["2 layers, no biases, tied"]
    model = built(config)
    code = (
        OPEN
        + """
        room.size.masked = given.masked;
        gpt_forward(given.idx.flat(), room);
        return [room.arrays.logits, room.blocks[0].p];
    """
    )
    idx = batch(config, 1)[0]
    for masked in (True, False):
        given = {"idx": idx.tolist(), "masked": masked}
        logits, looks = run_script(code, given, exported(model))
        looks = torch.tensor(looks).view(4, 20, 20)
        assert (looks.triu(1) == 0).all() if masked else (looks > 0).all()
        torch.testing.assert_close(looks.sum(-1), torch.ones(4, 20), atol=1e-5, rtol=0)
        same = torch.tensor(logits).view(20, 71) - model(idx)[0][0]
        assert (same.abs().max().item() < 1e-4) is masked


def test_what_the_page_does_not_train_is_refused():
    code = """
        const { roomFor } = await module("by_hand_gpt.js");
        const said = [];
        for (const change of given) {
          const config = { vocab_size: 5, context_length: 4, n_layer: 1, n_head: 1, n_embd: 4 };
          try { roomFor({ ...config, ...change }, 1); } catch (error) { said.push(error.message); }
        }
        return said;
    """
    post, dropout = run_script(code, [{"norm": "post"}, {"dropout": 0.1}, {}])
    assert "pre" in post and "dropout" in dropout


# Updates -----------------------------------------------------------------------------------------


def test_the_rate_of_every_step():
    recipes = [
        TrainConfig(steps=7),
        TrainConfig.preset("stories"),
        TrainConfig(steps=50, warmup_steps=0, min_lr_ratio=1.0),
    ]
    code = """
        const { learning_rate } = await module("adamw.js");
        const steps = (n) => Array.from({ length: n }, (_, i) => i + 1);
        return given.map((c) => steps(c.steps).map((step) => learning_rate(step, c)));
    """
    for config, found in zip(recipes, run_script(code, [asdict(c) for c in recipes]), strict=True):
        wanted = [learning_rate(step, config) for step in range(1, config.steps + 1)]
        assert found == pytest.approx(wanted, rel=1e-12)


def test_a_rate_that_stays_and_falls_in_a_straight_line():
    code = """
        const { learning_rate } = await module("adamw.js");
        const recipe = { steps: 110, lr: 2, min_lr_ratio: 0, warmup_steps: 10, hold: 0.3 };
        return [5, 10, 25, 40, 75, 110, 200].map((step) => learning_rate(step, recipe));
    """
    assert run_script(code) == pytest.approx([1, 2, 2, 2, 1, 0, 0])


def trained(model: GPT, config: TrainConfig, batches: list) -> tuple[list[float], list[float]]:
    """The losses and the gradient norms of PyTorch's own updates."""
    run = Run(model, torch.zeros(500, dtype=torch.long), config)
    queue = iter(batches)
    run.batch = lambda: next(queue)
    steps = [run.update() for _ in batches]
    return [step["loss"] for step in steps], [step["grad_norm"] for step in steps]


TRAIN = OPEN + """
    const { recipe } = given;
    const steps = given.batches.map(([idx, targets], i) => {
      room.flat.grads.fill(0);
      const loss = gpt_back(idx.flat(), targets.flat(), room);
      const now = { ...recipe, lr: learning_rate(i + 1, recipe) };
      const { grad_norm, ratios } = adamw_step(room, i + 1, now);
      return [loss, grad_norm, ratios];
    });
    return [steps, given.whole ? room.weights : null];
"""  # fmt: skip


def in_page(model: GPT, recipe: TrainConfig, batches: list, plain: bool = False, whole=True):
    given = {
        "B": len(batches[0][0]), "plain": plain, "recipe": asdict(recipe), "whole": whole,
        "batches": [[idx.tolist(), targets.tolist()] for idx, targets in batches],
    }  # fmt: skip
    return run_script(TRAIN, given, exported(model))


@pytest.mark.parametrize("clip", [1.0, None])
@BOTH
def test_twenty_steps_are_those_of_pytorch(plain, clip):
    config = replace(FOUR["2 layers, no biases, tied"], bias=True)
    recipe = TrainConfig(
        steps=20, batch_size=4, lr=4e-3, grad_clip=clip, device="cpu", context_length=20
    )
    torch.manual_seed(0)
    model = GPT(config)
    batches = [batch(config, 4, seed) for seed in range(20)]
    steps, weights = in_page(model, recipe, batches, plain)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    first = trained(model, replace(recipe), batches[:1])  # one step, then from the start again
    for name, p in model.named_parameters():
        if before[name].norm():
            moved = (p.detach() - before[name]).norm() / before[name].norm()
            assert steps[0][2][name] == pytest.approx(moved.item(), rel=2e-3), name
        p.data.copy_(before[name])
    losses, norms = trained(model, recipe, batches)
    assert first[0][0] == losses[0]
    assert [step[0] for step in steps] == pytest.approx(losses, abs=1e-3)
    assert [step[1] for step in steps] == pytest.approx(norms, rel=1e-3)
    for name, p in model.named_parameters():
        got = torch.tensor(weights[name]).view_as(p)
        torch.testing.assert_close(got, p.detach(), atol=2e-3, rtol=0, msg=name)


def test_weights_begin_as_gpt_begins():
    config = GPTConfig.preset("stories", bias=True, n_layer=2)
    code = OPEN + """
        const { randomNumbers } = await module("sampling.js");
        init_gpt2(room, randomNumbers(5));
        return room.weights;
    """  # fmt: skip
    model = GPT(config)
    found = run_script(code, {}, model_bytes(model, letters(config)))
    for name, p in model.named_parameters():
        got, p = (
            torch.tensor(found[name]).float().view_as(p),
            p.detach(),
        )  # 0 comes as a whole number
        if name == "position_embedding.weight" or p.dim() == 1:
            torch.testing.assert_close(got, p, atol=1e-6, rtol=0, msg=name)
        else:
            assert got.std().item() == pytest.approx(p.std().item(), rel=0.05), name
            assert abs(got.mean().item()) < 5 * p.std().item() / p.numel() ** 0.5, name


def test_two_hundred_steps_are_those_of_pytorch():
    """On stories, letter by letter, with the shape of a whole recipe: losses to 1e-3."""
    told = corpus.load("stories", n=60, seed=2).replace(corpus.END, "\n")
    tokenizer = CharTokenizer(told)
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size, context_length=32, n_layer=2, n_head=2, n_embd=32,
        bias=False, gelu="none", waves=True,
    )  # fmt: skip
    recipe = TrainConfig(steps=200, batch_size=4, lr=2e-3, device="cpu", context_length=32)
    torch.manual_seed(0)
    model, ids = GPT(config), torch.tensor(tokenizer.encode(told))
    generator = torch.Generator().manual_seed(0)
    batches = [get_batch(ids, 4, 32, generator=generator) for _ in range(200)]
    steps, _ = in_page(model, recipe, batches, whole=False)
    losses, _ = trained(model, recipe, batches)
    assert losses[-1] < 0.75 * losses[0]
    assert [step[0] for step in steps] == pytest.approx(losses, abs=1e-3)


@pytest.mark.parametrize("n", [8, 7])
@BOTH
def test_the_exponentials_of_a_row(n, plain):
    """To 1e-6 of each, and their sum; e to the power of -87 or less is next to nothing."""
    code = """
        if (given.plain) globalThis.WebAssembly = undefined;
        const { exponentialsPlainly, rowOfPowers } = await module("exponentials.js");
        const { workshop } = await module("product.js");
        const { take, memory } = workshop(64, 8, 8);
        const powers = memory ? rowOfPowers(memory, take(8)) : exponentialsPlainly, x = take(12);
        x.set(given.x, 2);
        return [powers(x, 2, given.x.length, 3, 0.5), x];
    """
    x = torch.tensor([3.0, -1.7, 2.2, -60.0, -160.0, 0.4, 1.9, -float("inf")])[:n]
    given = [-1e30 if v == -torch.inf else v for v in x.tolist()]  # JSON has no infinity
    total, found = run_script(code, {"x": given, "plain": plain})
    wanted = ((x.double() - 3) / 2).exp()
    assert found[:2] == found[10:] == [0, 0]
    assert found[2 : 2 + n] == pytest.approx(wanted.tolist(), rel=1e-6, abs=1e-37)
    assert total == pytest.approx(wanted.sum().item(), rel=1e-6)


# Muon, and what breaks a step ---------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (96, 32), (32, 128), (128, 32)])
def test_a_matrix_is_orthogonalised_as_in_python(rows, columns):
    code = """
        const { workshop } = await module("product.js");
        const { orthogonalise } = await module("muon.js");
        const { rows, columns } = given, size = rows * columns, R = Math.min(rows, columns);
        const { take, multiply } = workshop(3 * size + 3 * R * R, size + R * R, 128);
        const desk = [size, size, R * R, R * R].map(take);
        desk[0].set(given.x.flat());
        return orthogonalise(desk, rows, columns, multiply);
    """
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))
    found = run_script(code, {"rows": rows, "columns": columns, "x": x.tolist()})
    wanted = orthogonalise(x)
    torch.testing.assert_close(torch.tensor(found).view(rows, columns), wanted, atol=1e-4, rtol=0)


class Both:
    """Muon for the matrices of the blocks and AdamW for the rest, as in experiments/speed.py."""

    def __init__(self, model: GPT, recipe: TrainConfig, rate: float):
        matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
        self.adamw = make_optimizer(model, recipe)
        for group in self.adamw.param_groups:
            group["params"] = [p for p in group["params"] if all(p is not m for m in matrices)]
        self.muon = Muon(matrices, weight_decay=recipe.weight_decay)
        self.times, self.param_groups = rate / recipe.lr, self.adamw.param_groups

    def zero_grad(self, **_) -> None:
        self.adamw.zero_grad()
        self.muon.zero_grad()

    def step(self) -> None:
        self.adamw.step()
        self.muon.param_groups[0]["lr"] = self.times * self.param_groups[0]["lr"]
        self.muon.step()


def test_sixty_steps_with_muon_are_those_of_pytorch(monkeypatch):
    """The losses to 1e-3, the weights, and the length of each update."""
    from gptlib import training

    config = replace(FOUR["2 layers, no biases, tied"], bias=True)
    recipe = TrainConfig(
        steps=60, batch_size=4, lr=8e-3, min_lr_ratio=0.0, device="cpu", context_length=20
    )
    torch.manual_seed(0)
    model = GPT(config)
    batches = [batch(config, 4, seed) for seed in range(60)]
    code = OPEN + """
        const { matrices, muon_step } = await module("muon.js");
        const { recipe } = given, names = matrices(room);
        const losses = given.batches.map(([idx, targets], i) => {
          room.flat.grads.fill(0);
          const loss = gpt_back(idx.flat(), targets.flat(), room);
          const lr = learning_rate(i + 1, recipe), decay = recipe.weight_decay;
          const { shorter } = adamw_step(room, i + 1, { ...recipe, lr }, names);
          const now = { lr: lr * recipe.muon / recipe.lr, weight_decay: decay };
          return [loss, muon_step(room, names, now, shorter)];
        });
        return [losses, room.weights];
    """  # fmt: skip
    given = {
        "B": 4, "recipe": asdict(recipe) | {"muon": 0.02},
        "batches": [[idx.tolist(), targets.tolist()] for idx, targets in batches],
    }  # fmt: skip
    steps, weights = run_script(code, given, exported(model))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    monkeypatch.setattr(training, "make_optimizer", lambda m, c: Both(m, c, 0.02))
    losses, _ = trained(model, recipe, batches)
    assert [step[0] for step in steps] == pytest.approx(losses, abs=1e-3)
    for name, p in model.named_parameters():
        got = torch.tensor(weights[name]).view_as(p)
        torch.testing.assert_close(got, p.detach(), atol=3e-3, rtol=0, msg=name)
    assert steps[0][1].keys() == {
        name for name in before if name.startswith("blocks.") and before[name].dim() == 2
    }
    assert all(0 < moved < 1 for moved in steps[1][1].values())


class Muddled(CausalSelfAttention):
    """Heads by `reshape` without `transpose`, as chapter 7's fifteenth patient has them."""

    def split_heads(self, x):
        B, T, C = x.size()
        parts = self.qkv(x).split(C, dim=-1)
        return [part.reshape(B, self.n_head, T, C // self.n_head) for part in parts]


@pytest.mark.parametrize("fault", ["muddled", "twice"])
@BOTH
def test_the_gradients_of_a_broken_step_are_those_of_the_broken_program(fault, plain):
    config = FOUR["2 layers, no biases, tied"]
    model = built(config)
    idx, targets = batch(config, 3)
    code = OPEN + """
        room.size[given.fault] = true;
        const loss = gpt_back(given.idx.flat(), given.targets.flat(), room);
        return [loss, room.grads];
    """  # fmt: skip
    given = {"B": 3, "idx": idx.tolist(), "targets": targets.tolist(), "fault": fault}
    loss, found = run_script(code, given | {"plain": plain}, exported(model))
    sound = model(idx, targets)[1].item()
    if fault == "muddled":
        for block in model.blocks:
            block.attention.__class__ = Muddled
        wanted = model(idx, targets)[1]
    else:
        wanted = next_token_loss(model(idx)[0].softmax(dim=-1), targets)
    assert loss == pytest.approx(wanted.item(), rel=1e-5) and abs(loss - sound) > 1e-3
    model.zero_grad()
    wanted.backward()
    for name, p in model.named_parameters():
        limit = 2e-4 * p.grad.abs().max().item()
        got = torch.tensor(found[name]).view_as(p)
        torch.testing.assert_close(got, p.grad, atol=limit, rtol=0, msg=name)
