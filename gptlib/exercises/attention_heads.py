"""The exercise of chapter 3 that asks for a head, and how a layer that looks back is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from gptlib.attention import Head, attention_weights, causal_mask
from gptlib.exercises.modules import BACK, MakeModule, slope, weights_of
from gptlib.exercises.task import Mistake, Task, Wrong

Tensor = torch.Tensor
Layer = Callable[..., Any]


class MakeAttention(MakeModule):
    """A layer that looks back: its weights, its result, its gradients, and whether it moves."""

    def run(self, answer: Any, *given: Any) -> dict[str, Any]:
        settings, weights, x = given
        module = self.made(answer, settings, weights).eval()
        stays = any(map(torch.is_tensor, vars(module).values()))  # neither parameter nor buffer
        with torch.random.fork_rng(devices=[]), Made() as made:
            torch.manual_seed(0)
            seen = self.parts(module, settings, x)
            seen["The weights"] = told(module, "weights", settings, x)
            # Who has written no more than the weights so far should hear what they are.
            out = None if seen["The weights"] is None else told(module, "forward", settings, x)
            seen["What comes out"] = out
            if settings.get("dropout") and torch.is_tensor(out):
                other = told(module.train(), "forward", settings, x)
                seen["Dropout while training"] = not torch.allclose(other, out)
        if torch.is_tensor(out) and out.requires_grad:
            seen |= self.gradients(module, out, weights)
        else:
            seen |= {f"The gradient of {name}": None for name in weights}
        seen[BACK] = slope(module.eval(), x) if torch.is_tensor(out) else None
        named = hasattr(module, "mask")
        seen["The mask"] = module.mask if named else "nothing is called self.mask"
        seen["What is saved"] = sorted(module.state_dict()) if named else "the chapter looks at it"
        seen["Ready for another device"] = not (stays or made.on_the_cpu)
        return seen

    def parts(self, module: nn.Module, settings: dict[str, Any], x: Tensor) -> dict[str, Any]:
        """What is looked at before the weights."""
        return {}


def told(module: nn.Module, method: str, settings: dict[str, Any], x: Tensor) -> Any:
    """What a method says of x. Errors: Wrong where it is missing or fits no shorter text.

    A mask that is not cut to the text fits the longest text and no other.
    """
    if not callable(getattr(module, method, None)):
        raise Wrong(f"It has no method {method}(x): the chapter calls it further below.")
    try:
        return getattr(module, method)(x)
    except RuntimeError as error:
        if x.size(1) == settings["context_length"]:
            raise
        raise Wrong(
            f"A text of {x.size(1)} tokens does not fit, where context_length is "
            f"{settings['context_length']}: is the mask cut to the length of the text? ({error})"
        ) from error


class Made(TorchFunctionMode):
    """Notes whether a tensor is made without saying on which device.

    To run a module on another device would show it too, and takes a second the first time.
    """

    on_the_cpu = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = [*args, *(kwargs or {}).values()]
        known += [one for some in known if isinstance(some, list | tuple) for one in some]
        if torch.is_tensor(out) and not any(map(torch.is_tensor, known)):
            self.on_the_cpu |= (kwargs or {}).get("device") is None
        return out


def texts(reference: Any, *all_settings: dict[str, Any]) -> Callable[[int], Iterator[Any]]:
    """Inputs: one text as long as the context, with each of the settings; then a shorter one."""

    def inputs(seed: int) -> Iterator[tuple[Any, ...]]:
        draw = torch.Generator().manual_seed(seed)
        for number, settings in enumerate(all_settings):
            T, C = settings["context_length"], settings["n_embd"]
            x = torch.randn(1 + number, T if number < 1 else T - 2, C, generator=draw)
            yield settings, weights_of(reference, settings, seed), x

    return inputs


def _head(**methods: Layer) -> Layer:
    """A head in which something is otherwise."""
    return type("Head", (Head,), methods)


def _looks(weights: Callable[[Any, Tensor, Tensor, Tensor], Tensor]) -> Layer:
    """A head with other weights: from itself, query, key and mask."""
    return _head(
        weights=lambda self, x: weights(
            self, self.query(x), self.key(x), self.mask[: x.size(1), : x.size(1)]
        )
    )


class _PlainMask(Head):
    def __init__(self, n_embd: int, head_size: int, context_length: int, dropout: float = 0.0):
        super().__init__(n_embd, head_size, context_length, dropout)
        del self.mask
        self.mask = causal_mask(context_length)


class _OtherName(Head):
    def __init__(self, n_embd: int, head_size: int, context_length: int, dropout: float = 0.0):
        super().__init__(n_embd, head_size, context_length, dropout)
        self.register_buffer("tril", causal_mask(context_length))
        del self.mask

    def weights(self, x: Tensor) -> Tensor:
        return attention_weights(self.query(x), self.key(x), causal_mask(x.size(1)))


class _SavedMask(Head):
    def __init__(self, n_embd: int, head_size: int, context_length: int, dropout: float = 0.0):
        super().__init__(n_embd, head_size, context_length, dropout)
        self.register_buffer("mask", causal_mask(context_length))


class _OwnMask(Head):
    def weights(self, x: Tensor) -> Tensor:
        mask = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).tril()
        scores = torch.einsum("btc,bsc->bts", self.query(x), self.key(x))
        return torch.where(mask, scores / self.key.out_features**0.5, -torch.inf).softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        return self.weights(x).matmul(self.value(x))


HEAD = Task(
    name="attention.Head",
    asks="Write a head: query, key and value are made of x, and values are mixed by the weights.",
    reference=Head,
    inputs=texts(
        Head,
        {"n_embd": 4, "head_size": 2, "context_length": 3},
        {"n_embd": 6, "head_size": 4, "context_length": 9, "dropout": 0.0},
    ),
    hints=(
        "Which three things does a token make of its vector, and which two of them does the "
        "table of weights need? The third comes in when the weights are there.",
        "Three nn.Linear(n_embd, head_size, bias=False) and the mask, a buffer, in __init__. "
        "weights(x) asks attention_weights; forward mixes the values.",
        'self.register_buffer("mask", causal_mask(context_length), persistent=False); '
        "weights: attention_weights(self.query(x), self.key(x), self.mask[:T, :T]); "
        "forward: that table @ self.value(x).",
    ),
    mistakes=(
        Mistake(
            "The future is visible: the first token takes from tokens that come after it.",
            _looks(lambda self, q, k, mask: attention_weights(q, k)),
        ),
        Mistake(
            "The mask is upside down: a token sees what comes later and nothing of the past.",
            _looks(lambda self, q, k, mask: attention_weights(q, k, mask.T)),
        ),
        Mistake(
            "Query and key are the same here: a token looks with the sign that it puts up itself, "
            "so nobody can look without being looked at.",
            _looks(lambda self, q, k, mask: attention_weights(q, q, mask)),
        ),
        Mistake(
            "Queries and keys have changed places: a row should belong to the token that looks, "
            "and it looks with its query.",
            _looks(lambda self, q, k, mask: attention_weights(k, q, mask)),
        ),
        Mistake(
            "The scores are not divided by the root of the head size: with long queries one "
            "weight is near 1 before anything is learned.",
            _looks(lambda self, q, k, mask: attention_weights(q * q.size(-1) ** 0.5, k, mask)),
        ),
        Mistake(
            "The scores are divided by the root of n_embd. A query has head_size numbers, and a "
            "score is a sum of that many products.",
            _looks(
                lambda self, q, k, mask: attention_weights(
                    q * (q.size(-1) / self.query.in_features) ** 0.5, k, mask
                )
            ),
        ),
        Mistake(
            "What is hidden is made 0 after the softmax: the rows of the table no longer sum to 1.",
            _looks(lambda self, q, k, mask: attention_weights(q, k) * mask),
        ),
        Mistake(
            "The keys are mixed. A key is the label on the drawer; the value is what lies in it.",
            _head(forward=lambda self, x: self.weights(x) @ self.key(x)),
        ),
        Mistake(
            "The vectors that came in are mixed as they are: what a token hands over is its value.",
            _head(forward=lambda self, x: self.weights(x) @ x),
        ),
        Mistake(
            "The table of weights is turned round before it mixes: each token gets what others "
            "take from it, where it should get what it takes from others.",
            _head(forward=lambda self, x: self.weights(x).transpose(-2, -1) @ self.value(x)),
        ),
        Mistake(
            "The values come back unmixed: no token has looked at another.",
            _head(forward=lambda self, x: self.value(x)),
        ),
        Mistake(
            "The weights come back, and nothing has been taken yet: they are to mix the values.",
            _head(forward=lambda self, x: self.weights(x)),
        ),
        Mistake(
            "No gradient comes back: the result has been cut off from the layers that made it, and "
            "they would never learn.",
            _head(forward=lambda self, x: Head.forward(self, x).detach()),
        ),
        Mistake(
            "It learns, and nothing before it could: x is cut off, by detach, no_grad or .data, "
            "and no gradient goes on to it.",
            _head(forward=lambda self, x: Head.forward(self, x.detach())),
        ),
        Mistake(
            "The mask has another name. The chapter looks at self.mask further below.",
            _OtherName,
        ),
        Mistake(
            "The mask is saved along with what is learned. It can be made again, and a model saved "
            "without it would not load into this one.",
            _SavedMask,
        ),
        Mistake(
            "The mask stays on the CPU when the head moves to a GPU, and the two cannot meet "
            "there. What belongs to a module without being learned is its buffer.",
            _PlainMask,
        ),
    ),
    right=(
        _OwnMask,
        _head(
            forward=lambda self, x: F.scaled_dot_product_attention(
                self.query(x), self.key(x), self.value(x), is_causal=True
            )
        ),
    ),
    use=MakeAttention(),
)


TASKS = (HEAD,)
