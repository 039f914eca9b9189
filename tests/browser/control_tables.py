"""What each control of each widget does: a table a widget, in the order in which it is tried.

A table's names are those of `controls.find`, as patterns; a control that none of them fits, or that
two fit, is a failure of the test.
"""

from __future__ import annotations

import re

from controls import Does, Seen, aim
from looking import settle
from test_playing import told_step

from gptlib import corpus
from gptlib.widgets.cache_growth import MEASURES
from gptlib.widgets.tokenizer_explorer import readable

# What a control says --------------------------------------------------------------------------


def number(trait: str, **words: float):
    """The trait is the number that the control shows, or what a word there stands for."""

    def says(seen: Seen) -> dict:
        first = seen.said.split(" ")[0].split(":")[0].replace(",", "").replace("\u00d7", "")
        return {trait: words[first] if first in words else float(first or seen.said.split()[1])}

    return says


def value(trait: str):
    """The trait is the slider's own value: its text may be rounded, or a token."""
    return lambda seen: {trait: float(seen.value)}


def chosen(trait: str, *options):
    """The trait is the option's place in the list, or what stands there in `options`."""
    return lambda seen: {trait: options[seen.index] if options else seen.index}


def placed(trait: str):
    """The trait is the control's number among its like; where it was that already, it is none."""
    return lambda seen: {trait: -1 if seen.before[trait] == seen.order else seen.order}


def ticked(trait: str):
    return lambda seen: {trait: seen.checked}


def becomes(**traits):
    """These values, whatever was there; a function is asked with the traits from before."""
    return lambda seen: {k: v(seen.before) if callable(v) else v for k, v in traits.items()}


def pressed(hand, seen: Seen) -> None:
    assert seen.pressed == "true"


def reads(words: str, place: str = ".gw-read"):
    """Words that stand there then, and stay when a finger is lifted."""

    def then(hand, seen: Seen) -> None:
        assert re.search(words, hand.page.locator(place).first.inner_text())

    return then


def again(hand, seen: Seen) -> None:
    """It is pressed while something goes on; once more, and it is over."""
    assert seen.pressed == "true"
    aimed = aim(hand.page, seen, (0.5, 0.5))
    hand.press(aimed["x"], aimed["y"])
    assert hand.page.evaluate("at => hands.look(at)", seen.at)["pressed"] == "false"


def opened(hand, seen: Seen) -> None:
    """A fold answers; open is how it stays."""
    assert seen.open is not seen.aimed["open"]
    hand.page.evaluate("at => { hands.control(at).parentElement.open = true }", seen.at)
    settle(hand.page)


FOLD = Does(draws=False, then=opened)
POINTER = ("mouse", "finger")  # for what a keyboard does by other controls

# Every widget's controls, in the order in which they are tried -----------------------------------


def sampling(size: int) -> dict[str, Does]:
    return {
        "slider temperature": Does(value("temperature")),
        "slider top-k": Does(number("top_k", off=size)),
        "slider top-p": Does(value("top_p")),
    }


def listing(size: int, text: str) -> dict[str, Does]:
    more = becomes(listed=lambda b: min(size, 2 * b["listed"]))
    return {
        "button more tokens": Does(more, given={"listed": 12}),
        "button fewer": Does(becomes(listed=12), given={"listed": min(size, 20)}),
        "field find a token": Does(lambda seen: {"sought": seen.value}, text=text),
    }


def distribution(widget) -> dict[str, Does]:
    draw = lambda n: becomes(n_samples=lambda b: b["n_samples"] + n)  # noqa: E731
    return {
        "button draw 1": Does(draw(1)),
        "button draw 1,000": Does(draw(1000)),
        "button clear": Does(becomes(n_samples=0)),
        "choice after": Does(chosen("row")),
        "picture gw-heat": Does(
            becomes(row=4), at=(0.31, 0.9), then=reads(r"^z, then t12: "),
            hands=POINTER, instead=("choice after",),
        ),
        "picture the table as .*": Does(
            becomes(row=3), at=(0.31, 0.7), given={"row": 1},
            hands=POINTER, instead=("choice after",),
        ),
        **sampling(40),
        **listing(40, "t1"),
    }  # fmt: skip


def tokens(widget) -> dict[str, Does]:
    """Another text and other steps have other tokens: none is picked then."""
    anew = lambda says: lambda seen: {**says(seen), "picked": []}  # noqa: E731
    by = lambda n: anew(becomes(step=lambda b: b["step"] + n))  # noqa: E731
    shows = reads(r"^(character|byte|token) .*: (id|not in)", ".gw-detail")
    typed = lambda seen: {"text": seen.value}  # noqa: E731
    example = lambda seen: {"text": seen.name.split(", text: ")[1], "step": -1}  # noqa: E731
    return {
        "field your text": Does(anew(typed), text="An apple 🍎, umbrellas"),
        "slider merges made": Does(anew(lambda seen: {"step": int(seen.value)})),
        "button next merge ▶": Does(by(1)),
        "button ◀ back": Does(by(-1)),
        "button none": Does(anew(becomes(step=0))),
        "button all": Does(anew(becomes(step=-1))),
        "button .*, text: .*": Does(anew(example)),
        "token": Does(
            lambda seen: {"picked": [seen.group, seen.place]}, given={"picked": []}, then=shows
        ),
        "group gw-boxes": Does(hands=("mouse",), instead=("token",), then=shows),
        "toggle .* may count as one token": Does(
            anew(ticked("special")), given={"text": f"umbrellas {corpus.END}", "picked": []}
        ),
    }


def picture(widget) -> dict[str, Does]:
    parts = ["tokens", "positions", "norm1", "qkv", "attention", "project", "norm2", "expand"]
    parts += ["gelu", "back", "final", "head"]
    now = {name: getattr(widget, name) for name in widget.presets[0]["config"]}
    presets = sorted(widget.presets, key=lambda one: one["config"] == now)

    def part(seen: Seen) -> dict:
        """One that was open is closed."""
        key = parts[seen.order]
        assert seen.expanded == str(seen.before["part"] != key).lower()
        return {"part": key if seen.expanded == "true" else ""}

    def width(seen: Seen) -> dict:
        """The heads may have to be others: those that divide it, the nearest."""
        size, heads = number("n_embd")(seen)["n_embd"], seen.before["n_head"]
        those = [n for n in range(1, 129) if size % n == 0]
        return {"n_embd": size, "n_head": min(those, key=lambda n: abs(n - heads))}

    return {
        "slider width": Does(width),
        "slider heads": Does(number("n_head")),
        "slider layers": Does(number("n_layer")),
        "slider vocabulary": Does(number("vocab_size")),
        "slider context": Does(number("context_length")),
        "slider batch": Does(number("batch_size")),
        "toggle tied: .*": Does(ticked("tied")),
        **{
            re.escape(f"button preset {one['name']}: {one['label']}"): Does(
                becomes(**one["config"]), then=pressed, agrees=one in (presets[0], presets[-1])
            )
            for one in presets
        },
        "part": Does(part),
        "choice bars show": Does(lambda seen: {"measure": seen.chosen}, agrees=False),
    }


def cache(widget) -> dict[str, Does]:
    def model(i: int):
        own = widget.models[i]
        names = {"n_kv_head": "own_kv_head", "window": "window", "full_every": "full_every"}
        n_tokens = lambda b: min(b["n_tokens"], own["context_length"])  # noqa: E731
        return becomes(shown=i, n_tokens=n_tokens, **{k: own[v] for k, v in names.items()})

    every = lambda seen: {"full_every": 2 if seen.checked else 0}  # noqa: E731
    others = [*range(1, len(widget.models)), 0]  # the first is there already
    return {
        "slider tokens of text": Does(number("n_tokens")),
        "slider key/value heads": Does(number("n_kv_head")),
        "slider window": Does(number("window", off=0)),
        "toggle every .*": Does(every, given={"window": 128}),
        "choice numbers": Does(chosen("bytes_per_value", 4, 2, 1)),
        "choice counted:": Does(chosen("measure", *MEASURES)),
        **{
            re.escape(f"button {widget.models[i]['name']}"): Does(model(i), then=pressed)
            for i in others
        },
    }


def experts(widget) -> dict[str, Does]:
    return {
        "slider block": Does(number("layer")),
        "pick": Does(placed("expert"), then=pressed),
        "toggle room for .*": Does(ticked("limited")),
        "routed-token": Does(placed("token"), then=reads("block 2 asks", ".gw-asks")),
    }


def writing(widget, path, heads=2) -> dict[str, Does]:
    size, names = widget._tokenizer.vocab_size, {}
    for i in range(size):
        names[readable(widget._tokenizer.decode([i]).encode())] = i
    names["END"] = size - 1
    prompt = widget.prompt[: len(widget.prompt) // 2]
    # the place before a token; before the first is none, and behind the last it is -1
    last = lambda seen: {"at": -1 if seen.text == " … " else max(1, seen.order)}  # noqa: E731
    file_name = f"{path.name}: blocks 1, heads 2"

    def cell(seen: Seen) -> dict:
        layer, head = divmod(seen.order, heads)
        return {"layer": layer, "head": head, "bars": "attention"}

    def part(seen: Seen) -> dict:
        found = re.search(r"block (\d), (?:head (\d)|feed-forward)", seen.name)
        kind = "feed_forward" if found[2] is None else f"attention.{found[2]}"
        name, off = f"blocks.{found[1]}.{kind}", seen.before["off"]
        return {"off": [x for x in off if x != name] if seen.checked else sorted([*off, name])}

    def wrote(seen: Seen) -> dict:
        ids, before = seen.changed["ids"], seen.before["ids"]
        assert ids[: len(before)] == before
        return {"ids": ids, "seed": seen.before["seed"] + len(ids) - len(before), "at": -1}

    def takes(seen: Seen) -> dict:
        return {"ids": [*seen.before["ids"], names[seen.aimed["text"]]]}

    opened_it = becomes(ids=[], at=-1, layer=0, head=0, off=[], marks=False)
    return {
        "fold Look inside.*": FOLD,
        **sampling(size),
        "field the story begins": Does(lambda seen: {"prompt": seen.value}, text=prompt),
        "button next token": Does(wrote),
        "button (write|stop)": Does(wrote, then=again, given={"ids": []}, agrees=False),
        "toggle as fast as .*": Does(ticked("fast"), draws=False),
        "button one back": Does(becomes(ids=[1]), given={"ids": [1, 2]}),
        "pick": Does(takes, given={"ids": []}),
        "button back to the beginning": Does(becomes(ids=[]), given={"ids": [1, 2, 1]}),
        "token": Does(last, given=lambda seen: {"at": 2 if seen.order == 3 else 3}),
        "choice bars below .*": Does(chosen("bars", "surprise", "attention")),
        "toggle block .* is on": Does(part),
        "button switch all on": Does(becomes(off=[]), given={"off": ["blocks.0.attention.1"]}),
        "cell": Does(cell, given={"bars": "surprise"}),
        **listing(size, "e"),
        "file open a model of your own": Does(
            opened_it, text=path, agrees=False, until=file_name
        ),
        "button back to the first model": Does(becomes(marks=True), agrees=False),
        "group gpt-widget": Does(
            opened_it, text=path, agrees=False, until=file_name,
            hands=("mouse",), instead=("file open a model of your own",),
        ),
    }  # fmt: skip


def telling(widget, path) -> dict[str, Does]:
    """The same with the answer key, and with the book's model."""
    exam = reads("with all parts on", ".gw-exam ~ .gw-facts")

    def taken(hand, seen: Seen) -> None:
        hand.page.locator(".gw-facts", has_text="with all parts on").wait_for()
        exam(hand, seen)

    usual = writing(widget, path, heads=4)
    last = list(usual)[-3:]  # another model, and no key
    return {
        **{name: does for name, does in usual.items() if name not in last},
        "toggle mark what .*": Does(ticked("marks")),
        "fold Which skills .*": FOLD,
        "button (set|stop) the exam": Does(then=taken, draws=False, given={"off": []}),
        **{name: usual[name] for name in last},
    }


def attention(widget) -> dict[str, Does]:
    heads = widget._layer.n_head
    shown = {
        f"button {n}": Does(becomes(shown=i), then=pressed) for i, n in enumerate(widget.names)
    }
    T = 20  # tokens of the text that is written
    text = (
        "more and lower and lowest; <more>"[:T]
        if len(widget.names) > 1
        else "A hen had a red kite."
    )

    def head(seen: Seen) -> dict:
        layer, head = divmod(seen.order, heads)
        return {"layer": layer, "head": head}

    def over(hand, seen: Seen) -> None:
        """The token below the mouse looks, until the mouse has left it."""
        heading = hand.page.locator(".gw-heading", has_text="What ").first
        assert "(token 0)" in heading.inner_text()
        hand.page.mouse.move(0, 0)
        settle(hand.page)
        assert "(token 0)" not in heading.inner_text()

    return {
        "field the text": Does(lambda seen: {"text": seen.value}, text=text),
        "group gw-attending": Does(hands=("mouse",), instead=("token",), then=over),
        "token": Does(lambda seen: {"query": seen.order}),
        **({name: shown[name] for name in list(shown)[::-1]} if len(shown) > 1 else {}),
        "thumb": Does(head, given=lambda s: {"head": (s.order + 1) % heads}, then=pressed),
        "toggle mask: .*": Does(ticked("mask")),
        "slider scores divided by": Does(number("divisor")),
        "picture gw-heat": Does(
            becomes(query=0), at=(0.02, 0.02), then=reads("^Token 0, .* % from"),
            hands=POINTER, instead=("token",),
        ),
        "picture the weights of .*": Does(
            becomes(query=0), at=(0.02, 0.02), given={"query": 3}, hands=POINTER, instead=("token",)
        ),
    }  # fmt: skip


def signals(widget) -> dict[str, Does]:
    """Another stack has not trained yet."""
    anew = lambda says: lambda seen: {**says(seen), "steps": 0}  # noqa: E731

    def trained(hand, seen: Seen) -> None:
        hand.page.locator(".gw-facts", has_text="after 50 steps").wait_for()

    return {
        "slider layers": Does(anew(number("depth"))),
        "slider gain: .*": Does(anew(value("gain"))),
        "choice activation": Does(anew(chosen("activation", "none", "relu", "gelu", "tanh"))),
        "choice norm": Does(anew(chosen("norm", "none", "pre", "post"))),
        "choice of the kind": Does(
            anew(chosen("norm_kind", "layer", "rms")), given={"norm": "pre"}, agrees=False
        ),
        "toggle shortcuts": Does(anew(ticked("shortcut"))),
        "button train 50 steps": Does(becomes(steps=50), given={"depth": 10}, then=trained),
        "choice with": Does(anew(chosen("optimizer", "adam", "sgd")), given={"steps": 3}),
        "button back to the start": Does(becomes(steps=0), given={"steps": 3}),
        **recorded_signals(widget, choice=False),
    }


def recorded_signals(widget, choice=True) -> dict[str, Does]:
    def layer(seen: Seen) -> dict:
        depth = seen.before["depths"][seen.before["shown"]] if choice else seen.before["depth"]
        share = (344 * seen.hit[0] - 46) / (334 - 46)
        return {"layer": round(share * (depth + 1) - 0.5)}

    one = {"choice model": Does(chosen("shown"))} if choice else {}
    return one | {
        "slider look into layer": Does(number("layer")),
        "choice gradients": Does(chosen("gradient_of", "weights", "numbers")),
        "picture gw-signal-plot": Does(
            layer, at=(0.31, 0.4), given={"layer": 1},
            hands=POINTER, instead=("slider look into layer",),
        ),
    }  # fmt: skip


def run(widget) -> dict[str, Does]:
    """What winds a tape."""
    steps = next(iter(widget.runs))["step"]
    now = lambda b: b["moment"] if b["moment"] >= 0 else len(steps) - 1  # noqa: E731
    by = lambda n: becomes(moment=lambda b: now(b) + n)  # noqa: E731

    def nearest(seen: Seen) -> dict:
        step = (464 * seen.hit[0] - 44) / (452 - 44) * steps[-1]
        return {"moment": min(range(len(steps)), key=lambda m: abs(steps[m] - step))}

    def plays(seen: Seen) -> dict:
        return {"playing": True, "moment": seen.changed.get("moment", 0)}

    return {
        "button one moment back": Does(by(-1)),
        "button one moment on": Does(by(1)),
        "slider step": Does(value("moment")),
        "picture gw-loss": Does(
            nearest, at=(0.9, 0.5), to=(0.55, 0.4), given={"moment": -1},
            hands=POINTER, instead=("slider step",),
        ),
        "button (play|pause)": Does(plays, given={"moment": 0}, then=again),
    }  # fmt: skip


def scrubber(widget) -> dict[str, Does]:
    T = len(widget.runs[0]["tokens"])
    row = becomes(query=int(0.31 * T))
    instead = {"hands": POINTER, "instead": ("slider token that looks",)}
    return run(widget) | {
        "choice run": Does(chosen("shown")),
        "choice head": Does(chosen("head")),
        "slider token that looks": Does(value("query")),
        "picture gw-heat": Does(row, at=(0.5, 0.31), **instead),
        "seen": Does(lambda seen: {"query": seen.order}, **instead),
    }


def rotations(widget) -> dict[str, Does]:
    """The query stands behind the key, or at its place."""

    def query(seen: Seen) -> dict:
        place = int(seen.value)
        return {"query_at": place, "key_at": min(place, seen.before["key_at"])}

    def key(seen: Seen) -> dict:
        place = int(seen.value)
        return {"query_at": max(place, seen.before["query_at"]), "key_at": place}

    def both(seen: Seen) -> dict:
        apart = seen.before["query_at"] - seen.before["key_at"]
        return {"query_at": int(seen.value) + apart, "key_at": int(seen.value)}

    def walks(seen: Seen) -> dict:
        on = seen.changed.get("query_at", 100) - 100
        return {"walking": True, "query_at": 100 + on, "key_at": 50 + on}

    def pair(seen: Seen) -> dict:
        i = int(re.match(r"pair (\d+)", seen.text)[1])
        return {"pair": -1 if seen.before["pair"] == i else i}

    def distance(seen: Seen) -> dict:
        wide = round(seen.aimed["width"])
        near = round((wide * seen.hit[0] - 46) / (wide - 12 - 46) * 512)
        now = {**seen.before, **seen.changed}
        far = now["query_at"] - now["key_at"]
        assert abs(far - near) <= 1  # a hand is as exact as a pixel
        key_at = min(seen.before["key_at"], 512 - far)
        return {"query_at": key_at + far, "key_at": key_at}

    slowed = {"slider slowest pair slowed": Does(number("scaling", **{"not": 1}))}
    return {
        "slider query at": Does(query),
        "slider key at": Does(key),
        "slider both together": Does(both),
        "button (let both walk on|stop)": Does(
            walks, given={"query_at": 100, "key_at": 50}, then=again
        ),
        "slider base": Does(number("base")),
        **slowed,
        "pair": Does(pair),
        "picture gw-scores": Does(
            distance, at=(0.2, 0.3), to=(0.61, 0.5),
            hands=POINTER, instead=("slider query at", "slider key at"),
        ),
        "slider drawn to": Does(number("drawn_to"), given={"query_at": 20, "key_at": 10}),
    }  # fmt: skip


def training(widget) -> dict[str, Does]:
    """Those of the worker are told to it; what it makes of them is tested with the training."""

    def step(hand, seen: Seen) -> None:
        told_step(hand.page, 1)

    def goes(hand, seen: Seen) -> None:
        """The worker says that it has begun, and that it has stopped."""
        hand.page.get_by_role("button", name="pause", pressed=True).wait_for()
        aimed = aim(hand.page, seen, (0.5, 0.5))
        hand.press(aimed["x"], aimed["y"])
        hand.page.get_by_role("button", name="go on", pressed=False).wait_for()

    def mistakes(seen: Seen) -> dict:
        name = MISTAKES[seen.name]
        before = seen.before["mistakes"]
        return {"mistakes": [*before, name] if seen.checked else [m for m in before if m != name]}

    def begun(hand, seen: Seen) -> None:
        assert hand.page.locator(".gw-facts").inner_text() == ""

    def looks(words: str):
        return lambda hand, seen: hand.page.locator(".gw-read", has_text=words).wait_for()

    def row(hand, seen: Seen) -> None:
        looks(f"token {seen.value}, ")(hand, seen)

    return {
        "slider learning rate": Does(number("factor"), draws=False),
        "choice cores": Does(chosen("workers", 1, 2, 3, 4), draws=False),
        "fold break it": FOLD,
        f"toggle ({'|'.join(MISTAKES)})": Does(mistakes, draws=False),
        "fold who looks where": FOLD,
        "choice (block|head)": Does(draws=False, hands=()),
        "button one step": Does(draws=False, then=step, given={"mistakes": []}),
        "slider token": Does(then=row),
        "picture gw-heat": Does(
            at=(0.5, 0.99), then=looks(", takes "), hands=POINTER, instead=("slider token",)
        ),
        "button (train|go on|pause)": Does(draws=False, then=goes),
        "button keep the model": Does(draws=False, downloads=True),
        "button begin again": Does(then=begun),
    }


def course_training(widget) -> dict[str, Does]:
    """Several models to choose from, with blocks and heads to look at."""

    def looks(hand, seen: Seen) -> None:
        hand.page.locator(".gw-read", has_text=seen.chosen).wait_for()

    def begun(hand, seen: Seen) -> None:
        assert "has not begun" in hand.page.locator("[role=status]").inner_text()

    table = training(widget)
    table["choice (block|head)"] = Does(draws=False, then=looks)
    order = ["button one step", "choice (block|head)", "slider token", "picture gw-heat"]
    return {
        **{name: table[name] for name in table if name not in order},
        **{name: table[name] for name in order},
        "choice model": Does(chosen("choice"), then=begun),
    }


MISTAKES = {
    "no mask": "mask", "no shift": "shift", "forgotten zero_grad": "zero_grad",
    "no clipping": "clip", "no warm-up": "warmup", "one batch": "one_batch",
    "sorted stories": "sorted", "validation leak": "validation_leak",
    "batches of garbage": "garbage", "softmax twice": "softmax_twice", "wrong reshape": "reshape",
    "frozen blocks": "frozen", "lost optimiser": "lost", "big start": "big_start",
}  # fmt: skip
TABLES = {
    "distribution": distribution,
    "tokens": tokens,
    "picture": picture,
    "growing_cache": cache,
    "routed": experts,
    "live": writing,
    "training": training,
    "training_of_the_course": course_training,
    "attention": attention,
    "attention_of_chapter_3": attention,
    "teller": telling,
    "signals": signals,
    "recorded_signals": recorded_signals,
    "scrubber": scrubber,
    "one_run": run,
    "rotations": rotations,
    "rotations_of_a_large_head": rotations,
}
OPENS_FILES = {"live", "teller"}
