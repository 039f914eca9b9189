"""A GPT that runs in the page: write with it, look into it, switch parts of it off.

Used in chapter 8 and in the Playground. Given, not built.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
import traitlets

from gptlib.corpus.scoring import end_id
from gptlib.generation import next_token_probs
from gptlib.given.models import evaluating, unwrapped
from gptlib.gpt import GPT
from gptlib.modern import ModernGPT
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets import story_key
from gptlib.widgets.model_file import model_bytes
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LiveGPT(Widget):
    """A text that a model goes on with, and all that the model has in mind on the way.

    model: a GPT; tokenizer: the one it was trained with. prompt: how the text begins. The traits
    prompt, ids (what was written so far), seed (of the next draw), temperature, top_k, top_p, at
    (the place looked at: that before token `at` of the whole text, END included; -1 for the next),
    layer and head (whose attention is drawn), listed (how many candidates have a line each), sought
    (what those have in their texts) and off (parts that are switched off, such as
    "blocks.0.attention.3" or "blocks.1.feed_forward") may be set from Python and follow the reader.
    bare: no END is put before a prompt. begins: the name of the prompt's field. fast: the page
    writes as many tokens at once as fit between two pictures, and not one.
    answer_key: for a model of the stories, mark in the text which words are forced and where a
    story first breaks a rule (the trait marks switches it off); offer an exam on `exam_stories`.
    numbers: how the weights travel to the page, see `model_bytes`. Errors: ValueError as there, and
    for an answer key with a tokenizer that has no END.

    LiveGPT(GPT(GPTConfig(5, 8, 1, 1, 4)), CharTokenizer("lower"), "low").whole() -> [1, 2, 4]
    """

    _esm = bundle("live_gpt.js")
    _css = style("model_view.css")
    title = traitlets.Unicode("Write with the model").tag(sync=True)
    begins = traitlets.Unicode("the story begins").tag(sync=True)
    bare = traitlets.Bool(False).tag(sync=True)
    fast = traitlets.Bool(False).tag(sync=True)
    model_name = traitlets.Unicode("The model").tag(sync=True)
    model_file = traitlets.Bytes().tag(sync=True)
    prompt = traitlets.Unicode("").tag(sync=True)
    ids = traitlets.List(traitlets.Int()).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    listed = traitlets.Int(12, min=1).tag(sync=True)
    sought = traitlets.Unicode("").tag(sync=True)
    temperature = traitlets.Float(1.0, min=0.0).tag(sync=True)
    top_k = traitlets.Int(0, min=0).tag(sync=True)
    top_p = traitlets.Float(1.0, min=0.01, max=1.0).tag(sync=True)
    at = traitlets.Int(-1).tag(sync=True)
    layer = traitlets.Int(0, min=0).tag(sync=True)
    head = traitlets.Int(0, min=0).tag(sync=True)
    bars = traitlets.Enum(["surprise", "attention"], "surprise").tag(sync=True)
    off = traitlets.List(traitlets.Unicode()).tag(sync=True)
    key_data = traitlets.Unicode("").tag(sync=True)
    marks = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        model: GPT | ModernGPT,
        tokenizer: BPETokenizer | CharTokenizer,
        prompt: str = "",
        numbers: str = "float16",
        answer_key: bool = False,
        **settings: Any,
    ) -> None:
        data = model_bytes(model, tokenizer, numbers)
        if answer_key:
            end_id(tokenizer)  # or an error
            settings["key_data"] = json.dumps(story_key.answer_key(), separators=(",", ":"))
        tokenizer.encode(prompt)  # or an error
        self._model, self._tokenizer = unwrapped(model), tokenizer
        super().__init__(model_file=data, prompt=prompt, **settings)

    def whole(self) -> list[int]:
        """The ids of the text: END where the tokenizer has one, the prompt, what was written.

        Where both are missing, the end of a line comes first, or what the model knows first.
        """
        end = list(getattr(self._tokenizer, "special_tokens", {}).values())[:1]
        begun = self._tokenizer.encode(self.prompt)
        start = begun if begun and self.bare else [*end, *begun]
        if not start:
            knows = "\n" in getattr(self._tokenizer, "chars", "\n")
            start = self._tokenizer.encode("\n") if knows else [0]
        return [*start, *self.ids]

    @property
    def text(self) -> str:
        """The prompt and what was written after it."""
        return self.prompt + self._tokenizer.decode(self.ids)

    def probs(self) -> torch.Tensor:
        """What the token at the present place is drawn from, with the present settings: (V)."""
        ids = self.whole()
        seen = ids[: self.at] if 0 < self.at < len(ids) else ids
        seen = seen[-self._model.config.context_length :]
        device = next(self._model.parameters()).device
        with torch.no_grad(), evaluating(self._model), switched_off(self._model, self.off):
            logits = self._model(torch.tensor([seen], device=device))[0][0, -1]  # (V)
        top_k = self.top_k if 0 < self.top_k < len(logits) else None
        top_p = self.top_p if self.top_p < 1 else None
        return next_token_probs(logits.float().cpu(), self.temperature, top_k, top_p)

    def _best(self, n: int) -> list[tuple[str, float]]:
        best = self.probs().topk(min(n, self._tokenizer.vocab_size))
        named = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [(self._tokenizer.decode([i]), p) for p, i in named]

    def words(self) -> str:
        said = ", ".join(f"{name!r} {p:.1%}" for name, p in self._best(3))
        return f"{self.title}. After {self.text[-60:]!r} the model's most likely tokens: {said}."

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        best = self._best(12)
        figure = Figure(figsize=(6.4, 3.2))
        ax = figure.subplots()
        names = [repr(name)[1:-1].replace(" ", "␣").replace("$", r"\$") for name, _ in best]
        ax.barh(range(len(best)), [p for _, p in best])
        ax.set_yticks(range(len(best)), names)
        ax.invert_yaxis()
        ax.set_xlabel("probability of the next token")
        ax.grid(axis="y", visible=False)
        return figure


@contextmanager
def switched_off(model: GPT | ModernGPT, off: Collection[str]) -> Iterator[None]:
    """For a while, parts of the model hand over nothing: heads and feed-forward layers, by name.

    Names are "blocks.0.attention.3" for a head and "blocks.1.feed_forward". Errors: ValueError for
    a name that the model does not have.
    """
    with ExitStack() as hooks:
        for name in off:
            parts = name.split(".")
            try:
                block: Any = model.blocks[int(parts[1])]
                if parts[2:] == ["feed_forward"]:
                    hook = block.feed_forward.register_forward_hook(lambda m, i, out: 0 * out)
                else:
                    c = model.config
                    size = getattr(c, "head_size", c.n_embd // c.n_head)
                    without = _without(int(parts[3]), size)
                    hook = block.attention.project.register_forward_pre_hook(without)
                if ".".join(parts[:3:2]) not in ("blocks.attention", "blocks.feed_forward"):
                    raise ValueError
            except (ValueError, IndexError) as error:
                raise ValueError(f"off names {name!r}, which is no part of this model.") from error
            hooks.callback(hook.remove)
        yield


def _without(head: int, size: int) -> Any:
    """A hook that empties what one head hands to the projection."""

    def hook(module: Any, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        (heads,) = inputs  # (B, T, C)
        places = torch.arange(heads.size(-1), device=heads.device) // size == head
        return heads.masked_fill(places, 0.0)

    return hook
