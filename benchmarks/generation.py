"""How many tokens a second are written: ours, nanoGPT's `generate`, and Transformers'.

    GPTLIB_NANOGPT=PATH_OF_A_NANOGPT_CHECKOUT python book/tasks.py bench generation

One model for all, with the same weights: 4 layers, 4 heads, width 128, context 256, 65 characters,
biases, the exact GELU. Each writes after the same prompt until the text has 64, 128 and 256 tokens,
and draws from the one most likely token (top_k=1), so all must write the same; the script ends
where one does not. With a cache: ours, `generate(Cached(model), ...)`, and Transformers'. Without:
ours, nanoGPT, which has none, and Transformers'.

All take turns, several times, on one thread. Printed and kept: medians of processor time, tokens a
second, how many times as long as ours with the cache each took, and what a token costs from one
length to the next: with a cache that should stay nearly flat. Memory: by how much writing the
longest text raised what a process of its own held, at the most.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import statistics
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import measuring
import peers
import torch
from step_time import build_peer, copy_weights, load_peer

from gptlib import __version__
from gptlib.cache import Cached
from gptlib.generation import generate
from gptlib.gpt import GPT, GPTConfig

CONFIG = GPTConfig.preset("nanogpt-cpu", context_length=256, bias=True)
PROMPT, LENGTHS = 16, (64, 128, 256)
Write = Callable[[torch.Tensor, int], torch.Tensor]


def our_model() -> GPT:
    """Random weights, spread widely enough for no two tokens to be about equally likely."""
    torch.manual_seed(0)
    model = GPT(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def nanogpt(ours: GPT, checkout: Path) -> Write:
    """nanoGPT's model with our weights, and its own `generate`."""
    module = load_peer(checkout)
    model = build_peer(module, CONFIG).eval()
    copy_weights(ours, model)
    return lambda idx, new: model.generate(idx, new, top_k=1)


def transformers_model(ours: GPT) -> Any:
    """GPT2LMHeadModel with our weights; its matrices lie the other way round."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=CONFIG.vocab_size,
        n_positions=CONFIG.context_length,
        n_embd=CONFIG.n_embd,
        n_layer=CONFIG.n_layer,
        n_head=CONFIG.n_head,
        activation_function="gelu",
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config).eval()
    parts = {
        "wte": ours.token_embedding,
        "wpe": ours.position_embedding,
        "ln_f": ours.final_norm,
    }
    turned = {}
    for i, block in enumerate(ours.blocks):
        parts |= {f"h.{i}.ln_1": block.norm_1, f"h.{i}.ln_2": block.norm_2}
        turned |= {
            f"h.{i}.attn.c_attn": block.attention.qkv,
            f"h.{i}.attn.c_proj": block.attention.project,
            f"h.{i}.mlp.c_fc": block.feed_forward.expand,
            f"h.{i}.mlp.c_proj": block.feed_forward.project,
        }
    for name, module in (parts | turned).items():
        state = module.state_dict()
        if name in turned:
            state["weight"] = state["weight"].T
        model.transformer.get_submodule(name).load_state_dict(state)
    return model


def transformers(ours: GPT, use_cache: bool) -> Write:
    """Transformers' `generate`, which is told that no token is padding."""
    model = transformers_model(ours)

    def write(idx: torch.Tensor, new: int) -> torch.Tensor:
        return model.generate(
            idx,
            attention_mask=torch.ones_like(idx),
            min_new_tokens=new,
            max_new_tokens=new,
            do_sample=True,
            top_k=1,
            use_cache=use_cache,
            pad_token_id=0,
        )

    return write


def writers(nanogpt_folder: Path | None, with_transformers: bool) -> dict[str, Write]:
    """What is measured, by name."""
    model = our_model()
    found: dict[str, Write] = {
        "ours_cached": lambda idx, new: generate(Cached(model), idx, new, top_k=1),
        "ours": lambda idx, new: generate(model, idx, new, top_k=1),
    }
    if nanogpt_folder is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            found["nanogpt"] = nanogpt(model, nanogpt_folder)
    if with_transformers:
        found["transformers_cached"] = transformers(model, use_cache=True)
        found["transformers"] = transformers(model, use_cache=False)
    return found


def measure(write: dict[str, Write], lengths: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Each length in turn; the figures by length, and what a token costs between two of them."""
    prompt = torch.arange(PROMPT)[None] % CONFIG.vocab_size  # (1, 16)
    texts = {name: one(prompt, max(lengths) - PROMPT) for name, one in write.items()}
    first = texts["ours_cached"]
    if other := [name for name, text in texts.items() if not torch.equal(text, first)]:
        raise SystemExit(f"{', '.join(other)} wrote another text. Nothing to compare.")
    runs = {
        f"{name} {length}": lambda one=one, new=length - PROMPT: one(prompt, new)
        for name, one in write.items()
        for length in lengths
    }
    seconds = measuring.in_turn(runs, rounds)  # lengths take turns, too: they are compared
    by_length, cost = {}, {}
    for length in lengths:
        new, each = length - PROMPT, {name: seconds[f"{name} {length}"] for name in write}
        by_length[str(length)] = {
            "new_tokens": new,
            "cpu_seconds": measuring.medians(each),
            "tokens_per_second": {n: round(new / statistics.median(s)) for n, s in each.items()},
            "times_ours_cached": measuring.ratios(each, "ours_cached"),
        }
    for short, long in pairwise(lengths):
        cost[f"{short} to {long}"] = {
            name: round(
                1000
                * statistics.median(
                    (b - a) / (long - short)
                    for a, b in zip(
                        seconds[f"{name} {short}"], seconds[f"{name} {long}"], strict=True
                    )
                ),
                3,
            )
            for name in write
        }
    return {"by_length": by_length, "ms_per_token": cost, "same_text": True}


def child(name: str, peer: str, length: int) -> None:
    """A process of its own: write a text of this length, and tell the peak of memory."""
    folder = Path(peer) if name == "nanogpt" else None
    write = writers(folder, name.startswith("transformers"))[name]
    prompt = torch.arange(PROMPT)[None] % CONFIG.vocab_size  # (1, 16)
    write(prompt, 2)  # what is imported or made at the first call is no work
    measuring.forget_peak()
    measuring.tell_peak(lambda: write(prompt, length - PROMPT))


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    peers.add_argument(parser, "nanoGPT")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        torch.set_num_threads(1)
        name, peer, length = args.child
        return child(name, peer, int(length))
    lengths = tuple(args.lengths)
    if args.rounds < 1 or list(lengths) != sorted({*lengths} & {*range(PROMPT + 1, 257)}):
        parser.error(f"--rounds must be 1 or more, --lengths rise from {PROMPT + 1} to 256 at most")
    torch.set_num_threads(1)
    checkout = peers.found(args.peer, "nanoGPT")
    package = peers.installed("transformers")
    lacking = [word for word in (checkout, package) if isinstance(word, str)]
    folder = checkout if isinstance(checkout, Path) else None
    write = writers(folder, package is None)
    result = measure(write, lengths, args.rounds)
    words = (str(folder or ""), str(max(lengths)))
    mb = measuring.peaks_of(__file__, write, *words, rounds=min(args.rounds, 3))
    for length, one in result["by_length"].items():
        print(f"To {length} tokens, median of {args.rounds} rounds")
        for name, rate in one["tokens_per_second"].items():
            times = one["times_ours_cached"].get(name, 1.0)
            print(f"  {name:<20} {rate:7,} tokens/s   this / ours_cached: {times:.2f}")
    for stretch, costs in result["ms_per_token"].items():
        print(f"A token from {stretch}: " + ", ".join(f"{n} {ms} ms" for n, ms in costs.items()))
    print("Memory: " + ", ".join(f"{name} {one:.1f} MB" for name, one in mb.items()))
    versions = {"gptlib": __version__, "torch": torch.__version__}
    if not lacking:
        versions["transformers"] = importlib.metadata.version("transformers")
        versions["nanoGPT"] = peers.git_commit(folder)
    result = {
        "claim": "with the cache a token costs nearly the same at every length",
        "parameters": our_model().num_parameters(),
        "prompt": PROMPT,
        "rounds": args.rounds,
        **result,
        "memory_mb": mb,
        **measuring.about(**versions),
    }
    measuring.keep(args.out, "generation", result, lacking)


if __name__ == "__main__":
    main()
