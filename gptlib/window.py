"""Who may look where: back, and in a sliding window not further back than so many tokens.

Built in chapter 9. The causal mask of chapter 3, for queries that come late and keys that were read
before, for short sight, and for rows that begin with padding.

Tensor letters: B sequences, T queries, S keys.
"""

from __future__ import annotations

import torch


def visible(
    n_queries: int,
    n_keys: int,
    window: int | None = None,
    padding: torch.Tensor | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """(T, S) booleans, True where a query may look at a key; the last query made the last key.

    window: a token sees so many tokens, itself among them; None is no limit. padding (B): so many
    keys at the front of each row hold nothing; the result is (B, 1, T, S) then. A query among the
    padding sees itself, for an average over nothing would be nan, and is seen by nobody.
    Source of the window: I. Beltagy et al., "Longformer", 2020.

    visible(2, 4) -> [[True, True, True, False], [True, True, True, True]]
    visible(2, 4, window=2) -> [[False, True, True, False], [False, False, True, True]]
    """
    key = torch.arange(n_keys, device=device)  # (S)
    query = torch.arange(n_keys - n_queries, n_keys, device=device)[:, None]  # (T, 1)
    seen = key <= query  # (T, S)
    if window is not None:
        seen = seen & (key > query - window)
    if padding is not None:
        holds = key >= padding[:, None, None, None]  # (B, 1, 1, S)
        seen = seen & (holds | (key == query))  # (B, 1, T, S)
    return seen
