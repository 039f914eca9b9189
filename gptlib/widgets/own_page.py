"""A page of its own for one model: a single file that runs it, with no network and no Python.

Given, not built. Script, style and weights stand in the page itself, so it opens from a folder, a
stick or an attachment as it does from a server. It tells the browser to let it ask nobody.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from typing import Any

from gptlib.gpt import GPT
from gptlib.modern import ModernGPT
from gptlib.widgets.live_gpt import LiveGPT
from gptlib.widgets.widget import bundle, style

MOST_PARAMETERS = 200_000_000  # as in model_file.js
PIECE = 3 * 2**20  # bytes of the model in one element of the page
PAGE = """<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}
</style>
</head>
<body>
<a class="skip" href="#model">Go to the model</a>
<header>
<h1>{name}</h1>
<p>{lead}</p>
<div class="tools gpt-widget" role="group" aria-label="this page"></div>
</header>
<main id="model" tabindex="-1">
<p class="wait" role="status">The model is being read. This page needs JavaScript, which has not
started.</p>
<div class="live"></div>
{parts}
</main>
<footer><p>Written by gptlib. What the model says is checked by nobody.</p></footer>
<script type="application/json" class="settings">{settings}</script>
{pieces}
<script type="module">{script}</script>
</body>
</html>
"""


def page(
    model: GPT | ModernGPT,
    tokenizer: Any,
    name: str,
    told: Mapping[str, Mapping[str, Any]],
    *,
    prompt: str = "",
    numbers: str = "float16",
) -> str:
    """A whole page, as text, in which a model writes; it begins with `prompt`.

    told: what else is to be read there, {"Scores": {"bits per byte": 2.1}}, a heading each; a part
    of more than twelve lines is folded. numbers: how a weight is kept, see `model_bytes`.
    Errors: ValueError as in `model_bytes`; for a prompt that the tokenizer cannot encode; for a
    model of more than MOST_PARAMETERS, which no page can run.
    """
    count = sum(weight.numel() for weight in model.parameters())
    if count > MOST_PARAMETERS:
        raise ValueError(
            f"{name} has {count:,} parameters, and a page can run up to {MOST_PARAMETERS:,}: "
            f"export it --to transformers."
        )
    widget = LiveGPT(
        model, tokenizer, prompt, numbers, title=f"Write with {name}", model_name=name, bare=True,
        begins="the text begins", temperature=0.8, top_k=min(50, tokenizer.vocab_size),
    )  # fmt: skip
    data = widget.model_file
    own = [trait for trait in LiveGPT.class_own_traits(sync=True) if trait[0] != "_"]
    settings = {trait: getattr(widget, trait) for trait in own if trait != "model_file"}
    widget.close()
    script = bundle("own_page.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return PAGE.format(
        policy=f"default-src 'none'; script-src 'sha256-{allowed}' 'wasm-unsafe-eval'; "
        f"style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
        title=html.escape(f"{name}: a language model in a page"), name=html.escape(name),
        style=style("model_view.css", "own_page.css"),
        lead=f"A small language model of {count:,} parameters. It runs in this page: what you type "
        "stays here, and nothing is sent anywhere.",
        parts="\n".join(_part(heading, lines) for heading, lines in told.items()),
        settings=json.dumps(settings).replace("<", "\\u003c"),
        pieces="\n".join(
            f'<script type="text/plain" class="model">{_base64(data[at : at + PIECE])}</script>'
            for at in range(0, len(data), PIECE)
        ),
        script=script,
    )  # fmt: skip


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _part(heading: str, lines: Mapping[str, Any]) -> str:
    """A heading with names and values below it."""
    rows = "\n".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in lines.items()
    )
    told = f"<dl>\n{rows}\n</dl>"
    if len(lines) > 12:
        told = f"<details><summary>{len(lines)} lines</summary>\n{told}\n</details>"
    return f"<h2>{html.escape(heading)}</h2>\n{told}"
