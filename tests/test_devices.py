"""The course on a GPU, where this computer has one: the same numbers, and nothing waits for it.

No accelerator, no tests here: what they ask cannot be asked of a CPU.
"""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from gptlib.batches import get_batch
from gptlib.bigram import BigramModel
from gptlib.cache import Cached, pad_left
from gptlib.checkpoint import load_checkpoint, load_model, save_checkpoint
from gptlib.generation import generate
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.training import TrainConfig, make_optimizer, train

GPUS = [torch.device("cuda")] if torch.cuda.is_available() else []
GPUS += [torch.device("mps")] if torch.backends.mps.is_available() else []
DATA = torch.arange(400) * 7 % 11
CONFIG = GPTConfig(
    vocab_size=11, context_length=16, n_layer=2, n_head=2, n_embd=16, dropout=0.1, bias=True
)


def tiny(seed: int = 0, device: str | torch.device = "cpu") -> GPT:
    """A small model whose dropout draws random numbers."""
    torch.manual_seed(seed)
    return GPT(CONFIG).to(device)


def modern(device: str | torch.device = "cpu", **changes) -> ModernGPT:
    """A small modern GPT, with a window in its first layer."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "context_length": 16, "n_layer": 2, "n_head": 2, "n_kv_head": 1}
    sizes |= {"n_embd": 16, "head_size": 8, "hidden": 24, "window": 4, "full_every": 2}
    return ModernGPT(ModernConfig(**{**sizes, **changes})).to(device)


def settings(device: torch.device, **changes) -> TrainConfig:
    told = {"steps": 12, "batch_size": 4, "eval_every": 4, "eval_batches": 2, "lr": 1e-2}
    return TrainConfig(device=device.type, **{**told, **changes})


def same(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """The largest difference between two models' weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a.detach().cpu() - b.detach().cpu()).abs().max().item() for a, b in pairs)


@contextmanager
def no_waiting():
    """Within it CUDA raises where the CPU would wait for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


if GPUS:
    on_each = pytest.mark.parametrize("device", GPUS, ids=str)

    @on_each
    def test_the_logits_and_the_loss_are_those_of_the_cpu(device):
        x, y = get_batch(DATA, 4, 16, generator=torch.Generator().manual_seed(0))
        model = tiny().eval()
        logits, loss = model(x, y)
        there, loss_there = model.to(device)(x.to(device), y.to(device))
        assert there.device.type == device.type
        assert torch.allclose(there.cpu(), logits, atol=1e-4)
        assert loss_there.item() == pytest.approx(loss.item(), rel=1e-4)

    @on_each
    def test_batches_arrive_on_the_device_and_are_the_same(device):
        draw = [
            get_batch(DATA, 4, 16, generator=torch.Generator().manual_seed(3), device=where)
            for where in ("cpu", device)
        ]
        assert draw[1][0].device.type == device.type
        assert all(torch.equal(a, b.cpu()) for a, b in zip(*draw, strict=True))

    @on_each
    def test_a_resumed_run_is_the_one_that_never_stopped(device, tmp_path):
        def cut(step, model, metrics):
            if step == 6:
                raise KeyboardInterrupt

        whole, broken, resumed = tiny(), tiny(), tiny(1)
        history = train(whole, DATA, DATA, settings(device), progress=False)
        with pytest.raises(KeyboardInterrupt):
            train(
                broken, DATA, DATA, settings(device),
                checkpoint=tmp_path / "run", callbacks=[cut], progress=False,
            )  # fmt: skip
        torch.rand(100, device=device)  # other work, other random numbers
        going_on = train(
            resumed, DATA, DATA, settings(device), resume=tmp_path / "run", progress=False
        )
        assert same(whole, resumed) == 0.0
        assert going_on.column("val_loss") == history.column("val_loss")

    @on_each
    def test_random_numbers_that_a_callback_draws_change_nothing(device):
        plain, watched = tiny(), tiny()
        train(plain, DATA, None, settings(device), progress=False)
        look = [lambda step, model, metrics: torch.rand(10, device=device)]
        train(watched, DATA, None, settings(device), callbacks=look, progress=False)
        assert same(plain, watched) == 0.0

    @on_each
    def test_what_is_saved_here_loads_there(device, tmp_path):
        model = tiny(2, device)
        save_checkpoint(tmp_path / "model", model)
        there = load_model(tmp_path / "model")
        assert same(model, there) == 0.0 and next(there.parameters()).device.type == "cpu"
        again = tiny(3, device)
        load_checkpoint(tmp_path / "model", again)
        assert same(model, again) == 0.0 and next(again.parameters()).device.type == device.type

    @on_each
    @pytest.mark.parametrize("build", [tiny, modern], ids=["gpt", "modern"])
    def test_text_written_with_a_cache_is_that_of_the_cpu_without(device, build):
        model, prompts = build().eval(), [[1, 2, 3], [4]]
        train(model, DATA, None, settings(device, steps=60), progress=False)
        idx, padding = pad_left(prompts)
        reader = Cached(model, padding.to(device))
        there = generate(reader, idx.to(device), 30, temperature=0).cpu()
        model = model.cpu()
        for row, prompt, pad in zip(there.tolist(), prompts, padding.tolist(), strict=True):
            assert (
                row[pad:] == generate(model, torch.tensor([prompt]), 30, temperature=0)[0].tolist()
            )

    @on_each
    def test_greedy_text_is_that_of_the_cpu_and_a_nan_is_named(device):
        model, prompt = tiny().eval(), torch.tensor([[1, 2, 3]])
        train(model, DATA, None, settings(device, steps=60), progress=False)
        there = generate(model, prompt.to(device), 30, temperature=0)
        assert there.device.type == device.type
        assert torch.equal(there.cpu(), generate(model.cpu(), prompt, 30, temperature=0))
        with torch.no_grad():
            model.to(device).head.weight.fill_(torch.nan)
        with pytest.raises(ValueError, match="nan"):
            generate(model, prompt.to(device), 1)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="only CUDA watches who waits")
    @pytest.mark.parametrize(
        "build",
        [
            tiny,
            lambda: BigramModel(11),
            modern,
            lambda: modern(n_expert=4, n_active=2, capacity=1.0),
        ],
        ids=["gpt", "bigram", "modern", "experts"],
    )
    def test_a_step_does_not_wait_for_the_gpu(build):
        device = torch.device("cuda")
        model = build().to(device)
        optimizer = make_optimizer(model, settings(device))
        x, y = (t.to(device) for t in get_batch(DATA, 4, 16))
        for _ in range(2):  # the first step makes what the second one uses
            model(x, y)[1].backward()
            optimizer.step()
        torch.cuda.synchronize()
        with no_waiting():
            model(x, y)[1].backward()
            optimizer.step()
            optimizer.zero_grad()
        with pytest.raises(RuntimeError, match="synchroniz"), no_waiting():
            model(x, y)[1].item()  # the watch itself, watched

    @on_each
    def test_compiled_whole_it_gives_the_same(device):
        model = tiny().eval().to(device)
        x, y = (t.to(device) for t in get_batch(DATA, 4, 16))
        compiled = torch.compile(model, fullgraph=True)
        assert torch.allclose(compiled(x, y)[0], model(x, y)[0], atol=1e-4)
