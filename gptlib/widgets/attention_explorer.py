"""Who looks where in a text, head by head, and what comes of it.

Used in chapters 3 and 6. Given, not built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import nn

from gptlib.attention import AttentionModel
from gptlib.given.checks.saved import check_finite_weights
from gptlib.given.models import evaluating, unwrapped
from gptlib.given.run_state import set_weights, weights_of
from gptlib.gpt import GPT
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets.model_file import FORMAT, config_of, file_bytes, stored, unpacked
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"gpt": FORMAT, "attention": "gptlib attention 1"}  # the second only inside a page
SHOWN = 8  # tokens in the list; all others share its last line


class AttentionExplorer(Widget):
    """The attention of a model on a text of your own: pick a head, pick a token, see what it takes.

    model: a GPT or an AttentionModel, or several by name, such as {"before": a, "after": b}. text:
    what they read, after the tokenizer's first special token, where it has one. The traits shown
    (which model), layer, head, query (the token that looks; -1 for the last), mask (False: it may
    look ahead), divisor (of the scores; 0 for √d_k) and text may be set from Python and follow the
    reader. numbers: how the weights travel to the page, see `model_bytes`; Python counts with the
    same. mask and divisor change the picked layer; what it is given stays as the model has it.
    Errors: ValueError as in `model_bytes`, and for a model that computes something else.

    explorer = AttentionExplorer(model, "Once upon a time", tokenizer, layer=1, head=2)
    explorer.weights()  # how much the last token takes from each of those before it

    AttentionExplorer(AttentionModel(2, 4, 2, 1), "a", CharTokenizer("ab")).weights() -> [1]
    """

    _esm = bundle("attention_explorer.js")
    _css = style("model_view.css", "attention_explorer.css")
    title = traitlets.Unicode("Who looks where?").tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    kinds = traitlets.List(traitlets.Unicode()).tag(sync=True)
    model_files = traitlets.List(traitlets.Bytes()).tag(sync=True)
    text = traitlets.Unicode("").tag(sync=True)
    shown = traitlets.Int(0, min=0).tag(sync=True)
    layer = traitlets.Int(0, min=0).tag(sync=True)
    head = traitlets.Int(0, min=0).tag(sync=True)
    query = traitlets.Int(-1, min=-1).tag(sync=True)
    mask = traitlets.Bool(True).tag(sync=True)
    divisor = traitlets.Float(0.0, min=0.0).tag(sync=True)

    def __init__(
        self,
        model: GPT | AttentionModel | Mapping[str, GPT | AttentionModel],
        text: str,
        tokenizer: BPETokenizer | CharTokenizer,
        numbers: str = "float16",
        **settings: Any,
    ) -> None:
        models = dict(model) if isinstance(model, Mapping) else {"the model": model}
        if not models:
            raise ValueError("model must be a model, or several by name; got none.")
        if isinstance(tokenizer, str) and hasattr(text, "encode") and not isinstance(text, str):
            raise ValueError(
                "text comes before tokenizer: AttentionExplorer(model, text, tokenizer)."
            )
        if not hasattr(tokenizer, "decode"):
            raise ValueError(f"tokenizer must be one of gptlib's; got {type(tokenizer).__name__}.")
        self._tokenizer, self._models, files, kinds = tokenizer, [], [], []
        tokenizer.encode(text)  # or an error
        for one in models.values():
            copy, kind, config = _copy_of(one)
            tensors = stored(one, numbers)
            files.append(file_bytes(KINDS[kind], config, tensors, tokenizer))
            kinds.append(kind)
            set_weights(copy, unpacked(tensors))
            self._models.append(copy)
        super().__init__(
            names=list(models), kinds=kinds, model_files=files, text=text, **settings
        )  # fmt: skip

    def ids(self) -> list[int]:
        """The tokens that are read: those that fit into the context, END in front."""
        special = getattr(self._tokenizer, "special_tokens", {})
        ids = [*list(special.values())[:1], *self._tokenizer.encode(self.text)]
        model = self._model
        longest = model.config.context_length if isinstance(model, GPT) else model.context_length
        return ids[:longest]

    def scores(self) -> torch.Tensor:
        """q·k / divisor of the picked query with each of the n keys that it may see: (n)."""
        return self._scores()[self._place, : self._seen]

    def weights(self) -> torch.Tensor:
        """What the picked query takes from each of the n tokens that it may see: (n)."""
        return self.scores().softmax(dim=0)

    def table(self) -> torch.Tensor:
        """The weights of all queries of the picked head: (T, T)."""
        scores = self._scores()
        if self.mask:
            hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, float("-inf"))
        return scores.softmax(dim=-1)

    def parts(self) -> torch.Tensor:
        """Weight times value, token by token: (n, hs)."""
        value = self._heads()[2]  # (T, hs)
        return self.weights()[:, None] * value[: self._seen]

    def result(self) -> torch.Tensor:
        """What the picked head hands on at the picked place, the sum of the parts: (hs)."""
        return self.parts().sum(dim=0)

    def votes(self) -> torch.Tensor | None:
        """What the result adds to each logit, past all other parts, less the mean of that: (V).

        For a GPT the last norm divides by what it divides by in the whole model. None if post-norm.
        """
        model, result = self._model, self.result()
        if isinstance(model, GPT) and model.config.norm == "post":
            return None
        layer, hs = self._layer, len(result)
        columns = slice(self._head * hs, (self._head + 1) * hs)
        with torch.no_grad():
            added = layer.project.weight[:, columns] @ result  # (C, hs) @ (hs) -> (C)
            if isinstance(model, GPT):
                last = self._stream()[-1][self._place]  # (C)
                size = (last.var(correction=0) + 1e-5).sqrt()
                added = (added - added.mean()) / size * model.final_norm.weight
            votes = model.head.weight @ added  # (V, C) @ (C) -> (V)
        return votes - votes.mean()

    @property
    def _model(self) -> Any:
        return self._models[min(self.shown, len(self._models) - 1)]

    @property
    def _layer(self) -> Any:
        model = self._model
        if isinstance(model, GPT):
            return model.blocks[min(self.layer, len(model.blocks) - 1)].attention
        return model.attention

    @property
    def _head(self) -> int:
        return min(self.head, self._layer.n_head - 1)

    @property
    def _place(self) -> int:
        last = len(self.ids()) - 1
        return last if self.query < 0 else min(self.query, last)

    @property
    def _seen(self) -> int:
        return self._place + 1 if self.mask else len(self.ids())

    def _stream(self) -> list[torch.Tensor]:
        """What each layer of attention is given, and what stands at the end: (T, C) each."""
        model, idx = self._model, torch.tensor([self.ids()])
        with torch.no_grad():
            if not isinstance(model, GPT):
                return [model.embed(idx)[0]]
            x = model.token_embedding(idx) + model.position_embedding.weight[: idx.size(1)]
            given = []
            block: Any
            for block in model.blocks:
                given.append(block.norm_1(x)[0] if model.config.norm == "pre" else x[0])
                x = block(x)  # (1, T, C)
        return [*given, x[0]]

    def _heads(self) -> list[torch.Tensor]:
        """Queries, keys and values of the picked head: three of (T, hs)."""
        at = min(self.layer, len(self._model.blocks) - 1) if isinstance(self._model, GPT) else 0
        with torch.no_grad():
            return [
                part[0, self._head] for part in self._layer.split_heads(self._stream()[at][None])
            ]

    def _scores(self) -> torch.Tensor:
        query, key, _ = self._heads()
        return query @ key.T / (self.divisor or key.size(-1) ** 0.5)  # (T, T)

    def _best(self) -> list[tuple[str, float]]:
        """The tokens that the picked query takes most from, each with its place."""
        ids, weights = self.ids(), self.weights()
        best = weights.topk(min(SHOWN, len(weights)))
        named = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [(f"{self._name(ids[s])} {s}", w) for w, s in named]

    def _name(self, token: int) -> str:
        return repr(self._tokenizer.decode([token]))[1:-1].replace(" ", "␣")

    def words(self) -> str:
        ids = self.ids()
        if not ids:
            return f"{self.title} There is no text yet."
        said = ", ".join(f"{name} {w:.1%}" for name, w in self._best()[:3])
        which = f"{self.names[min(self.shown, len(self.names) - 1)]}, layer {self.layer}, head"
        return (
            f"{self.title} A map of who looks at whom in {len(ids)} tokens ({which} {self.head}), "
            f"and beside it what token {self._place}, {self._name(ids[self._place])}, takes most "
            f"from: {said}."
        )

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.6, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        if not self.ids():
            return figure
        left.imshow(self.table().sqrt().numpy(), vmin=0, vmax=1)
        left.axhline(self._place, color="C1", linewidth=1)
        left.set(xlabel="token that is looked at", ylabel="token that looks")
        left.grid(visible=False)
        best = self._best()
        right.barh(range(len(best)), [w for _, w in best])
        right.set_yticks(range(len(best)), [name.replace("$", r"\$") for name, _ in best])
        right.invert_yaxis()
        right.set(xlabel=f"weight, for token {self._place}", xlim=(0, 1))
        right.grid(axis="y", visible=False)
        return figure


def _copy_of(model: Any) -> tuple[GPT | AttentionModel, str, dict[str, Any]]:
    """A model of gptlib with the same weights, its kind, and its configuration for the page.

    Errors: ValueError for one that is of no kind we know, or that computes something else.
    """
    inner = unwrapped(model)
    copy: GPT | AttentionModel
    if hasattr(inner, "blocks") or not hasattr(inner, "attention"):
        config = config_of(inner)
        kind, copy, told = "gpt", GPT(config), asdict(config)
    else:
        kind, (copy, told) = "attention", _attention_model(inner)
    set_weights(copy.eval(), check_finite_weights(inner))
    idx = torch.arange(min(8, told["vocab_size"], told["context_length"]))[None]  # (1, T)
    device = next(inner.parameters()).device
    with torch.no_grad(), evaluating(inner):
        wanted, found = copy(idx)[0], inner(idx.to(device))[0]  # (1, T, V)
    exact = found.dtype in (torch.float32, torch.float64)  # shorter numbers are rounded on the way
    near = 1e-3 if exact else 0.05 * wanted.abs().max().item()
    same = torch.allclose(wanted, found.float().cpu(), atol=near)
    if not same:
        raise ValueError(
            f"model computes something else than gptlib's {type(copy).__name__} with its weights, "
            f"which is what the page would show."
        )
    return copy, kind, told


def _attention_model(model: nn.Module) -> tuple[AttentionModel, dict[str, Any]]:
    """The model of chapter 3 in the sizes of another one, and these for the page."""
    try:
        given: Any = model
        V, T, positions = given.vocab_size, given.context_length, given.position_embedding
        C, n_head = given.token_embedding.embedding_dim, given.attention.n_head
        copy = AttentionModel(V, T, C, n_head, positions is not None)
        wanted = {name: weight.shape for name, weight in weights_of(copy).items()}
        found = {name: weight.shape for name, weight in weights_of(model).items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"model must be a GPT or an AttentionModel; got {type(model).__name__}."
        ) from error
    if found != wanted:
        name = min(name for name, _ in found.items() ^ wanted.items())
        raise ValueError(f"model must be an AttentionModel as chapter 3 builds it; see {name}.")
    return copy, {
        "vocab_size": V, "context_length": T, "n_layer": 1, "n_head": n_head, "n_embd": C,
        "positions": positions is not None,
    }  # fmt: skip
