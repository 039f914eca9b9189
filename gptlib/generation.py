"""Let a trained model write: greedy or by chance, with temperature, top-k and top-p.

Built in chapter 8. A model returns a distribution over the next token; everything here decides
which token to take from it, appends the token and asks again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.given.checks.tensors import check_logits, check_request, check_sampling
from gptlib.given.models import LanguageModel, context_length_of, evaluating


def next_token_probs(
    logits: torch.Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> torch.Tensor:
    """Turn logits (…, V) into the probabilities (…, V) that the next token is drawn from.

    temperature divides the logits: below 1 sharper, above 1 flatter, 0 takes the most likely token
    for certain (of equals the first). top_k keeps the k most likely tokens, and those as likely as
    the k-th. top_p, of what then is left, keeps the fewest most likely tokens that together have a
    probability of at least top_p (A. Holtzman et al., "The Curious Case of Neural Text
    Degeneration", 2020). What is kept is scaled to a sum of 1. A logit of -inf rules a token out.

    Errors: ValueError for a setting outside its range, and for a row of logits with nan or inf in
    it, or with nothing but -inf.

    next_token_probs(torch.tensor([0.8, 0.2]).log(), temperature=0.5) -> [0.9412, 0.05882]
    next_token_probs(torch.tensor([0.8, 0.2]).log(), top_p=0.7) -> [1, 0]
    """
    check_sampling(temperature, top_k, top_p, vocab_size=logits.size(-1))
    check_logits(logits)
    if temperature == 0:
        return F.one_hot(logits.argmax(dim=-1), logits.size(-1)).float()  # (…, V)
    # Minus the largest logit, and no temperature that float32 takes for 0 or for infinity: neither
    # may turn a score into nan.
    scores = logits.float() - logits.float().amax(dim=-1, keepdim=True)  # (…, V), at most 0
    scores = scores / float(min(max(temperature, 1e-30), 1e30))  # (…, V)
    if top_k is not None:
        kth = scores.topk(top_k, dim=-1).values[..., -1:]  # (…, 1)
        scores = scores.masked_fill(scores < kth, -math.inf)
    probs = scores.softmax(dim=-1)  # (…, V)
    if top_p is not None and top_p < 1:
        probs = keep_top_p(probs, top_p)
    return probs


def keep_top_p(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the fewest most likely tokens with a probability of top_p or more in all.

    keep_top_p(torch.tensor([0.5, 0.3, 0.2]), top_p=0.6) -> [0.625, 0.375, 0.0]  # 0.5 is too little
    """
    ordered, index = probs.sort(dim=-1, descending=True, stable=True)  # (…, V)
    before = ordered.cumsum(dim=-1) - ordered  # (…, V), the probability of all more likely tokens
    over = before >= float(top_p)
    over[..., 0] = False  # the most likely token stays, even if float32 takes top_p for 0
    ordered = ordered.masked_fill(over, 0.0)
    kept = torch.zeros_like(probs).scatter(-1, index, ordered)  # back in the order of the ids
    return kept / kept.sum(dim=-1, keepdim=True)


def sample(probs: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw one token id per row: probs (B, V) -> (B, 1)."""
    return torch.multinomial(probs, num_samples=1, generator=generator)


@torch.no_grad()
def next_tokens(
    model: LanguageModel,
    idx: torch.Tensor,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> torch.Tensor:
    """Ask the model once: idx (B, T) -> one next token for each row (B, 1).

    settings are those of `next_token_probs`.
    """
    longest = context_length_of(model)
    if longest is not None:
        idx = idx[:, -longest:]  # (B, min(T, longest)): further back it cannot look
    with evaluating(model):
        logits, _ = model(idx)  # (B, T, V)
    probs = next_token_probs(logits[:, -1], **settings)  # (B, V)
    return sample(probs, generator)  # (B, 1)


def columns(
    model: LanguageModel,
    idx: torch.Tensor,
    max_new_tokens: int,
    stop_tokens: Collection[int],
    generator: torch.Generator | None,
    settings: dict[str, Any],
) -> Iterator[torch.Tensor]:
    """Yield the new tokens of all rows, (B, 1) at a time, until every row has stopped."""
    stops = torch.tensor(sorted(stop_tokens), dtype=torch.long, device=idx.device)
    done = torch.zeros(idx.size(0), 1, dtype=torch.bool, device=idx.device)  # (B, 1)
    for _ in range(max_new_tokens):
        new = next_tokens(model, idx, generator, **settings)  # (B, 1)
        new = torch.where(done, idx[:, -1:], new)  # a row that is done repeats its stop token
        yield new
        done = done | torch.isin(new, stops)
        if done.all():
            return
        idx = torch.cat([idx, new], dim=1)  # (B, T + 1)


def stream(
    model: LanguageModel,
    idx: torch.Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_tokens: Collection[int] = (),
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Yield the new tokens one by one, as ids, while they are made; idx is (1, T).

    Ends after max_new_tokens, or with the first stop token, which is yielded too. The rest is as
    in `generate`, and the same generator gives the same tokens. The model is in evaluation mode
    only while a token is made: a stream may be left unread, and the model be trained meanwhile.

    for text in tokenizer.decode_iterable(stream(model, idx, 50)): print(text, end="", flush=True)
    """
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    idx = check_request(model, idx, max_new_tokens, stop_tokens, settings)
    if idx.size(0) != 1:
        raise ValueError(f"idx must be one sequence, (1, T), to stream; got {tuple(idx.shape)}.")
    new = columns(model, idx, max_new_tokens, stop_tokens, generator, settings)
    return (int(token) for token in new)


def generate(
    model: LanguageModel,
    idx: torch.Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_tokens: Collection[int] = (),
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Write max_new_tokens more tokens after each row of idx: (B, T) -> (B, T + new).

    temperature, top_k, top_p: see `next_token_probs`; temperature 0 is greedy. A row that has
    drawn one of stop_tokens repeats it from there on, and when every row has, the result ends
    early. A model with a context_length sees only the last tokens that fit. The same seed in
    generator, which must be on the model's device, gives the same text. Each part of the model is
    left in the mode it was in, whatever happens; several threads may generate from one model.

    idx may be of any whole-number type; the result is int64. Errors: ValueError that names the
    argument and the allowed range, or that the logits hold a nan. Built in chapter 8.
    """
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    idx = check_request(model, idx, max_new_tokens, stop_tokens, settings)
    with evaluating(model):  # once for all tokens
        new = list(columns(model, idx, max_new_tokens, stop_tokens, generator, settings))
    return torch.cat([idx, *new], dim=1)  # (B, T + new)
