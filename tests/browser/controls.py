"""The controls of a widget: found in its page, and moved by a mouse, by a finger and by keys alone.

A control is what a hand can press, drag or write into: every element made for it (a button, an
input), and every other that listens to a pointer. So one that nobody thought of is found too.
Keys reach what Tab leads to; what only a pointer can do, another control must do as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from looking import FRAMES

SCRIPT = Path(__file__).with_name("controls.js")
FAMILIES = {"token", "thumb", "cell", "pick", "part", "pair", "routed-token", "seen"}
MANY = 6  # of a larger family three are pressed, and of all it is seen that nothing lies over them
FAR = 200  # a control that so many presses of Tab do not lead to is out of reach
RENDER = "export default { render };"
TOLD = "export default { render(given) { window.model = given.model; return render(given); } };"


@dataclass
class Seen:
    """A control, how it was when a hand came to it (`aimed`), and how it was after that (`now`)."""

    at: int
    kind: str
    name: str
    off: bool
    order: int  # among those of its kind; then: among which of their parents, and where there
    group: int
    place: int
    aimed: dict[str, Any] = field(default_factory=dict)
    now: dict[str, Any] = field(default_factory=dict)
    hit: tuple[float, float] = (0.5, 0.5)  # where it was pressed, in shares of its size

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}".strip()

    @property
    def before(self) -> dict[str, Any]:
        """The traits as they were."""
        return self.aimed["before"]

    def __getattr__(self, name: str) -> Any:
        return self.now[name]


@dataclass
class Does:
    """What a control does: the traits that `says` makes of it, and no others, are new.

    given: traits that Python sets before, or what makes them of a control. text: what is written
    into a field, or a file's path. at: where a picture is pressed, in shares of its size, and `to`
    where the hand drags it. until: words that the hand waits for. draws: whether the picture has
    changed then. downloads: whether a file is kept. then(hand, seen): what else must be seen.
    agrees: whether the picture can still be compared with Python's. hands: who can do it. instead:
    where that is no keyboard, the lines of the controls with which one does the same by keys.
    """

    says: Callable[[Seen], dict[str, Any]] | None = None
    given: dict[str, Any] | Callable[[Seen], dict[str, Any]] = field(default_factory=dict)
    text: str | Path = ""
    at: tuple[float, float] = (0.5, 0.5)
    to: tuple[float, float] | None = None
    until: str = ""
    draws: bool = True
    downloads: bool = False
    then: Callable[[Any, Seen], None] | None = None
    agrees: bool = True
    hands: tuple[str, ...] = ("mouse", "finger", "keys")
    instead: tuple[str, ...] = ()


def noting(path: Path) -> None:
    """Have a page note who listens to a pointer, before it is opened."""
    script = f"window.calm = () => {FRAMES};\n{SCRIPT.read_text(encoding='utf-8')}"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<head>", f"<head><script>{script}</script>", 1), "utf-8")


def told(widget):
    """The same widget, whose page has its traits as `model`, to be asked and to be told."""
    if RENDER not in widget._esm:
        raise ValueError("this script ends in another way")
    widget._esm = widget._esm.replace(RENDER, TOLD)
    return widget


def find(page) -> list[Seen]:
    """The controls that can be seen, in their order in the page."""
    return [Seen(**one) for one in page.evaluate("hands.find()")]


def those(page, label: str, table: dict[str, Does]) -> list[Seen]:
    """The controls that a line of a table speaks of; of many of a kind three.

    Each of the page's must have one line, and nothing may lie over those that are left out.
    """
    found = find(page)
    lines = [[name for name in table if re.fullmatch(name, seen.label)] for seen in found]
    wrong = {seen.label: n for seen, n in zip(found, lines, strict=True) if len(n) != 1}
    assert wrong == {}, f"controls without a line, or with several: {wrong}"
    here = [seen for seen, line in zip(found, lines, strict=True) if line == [label]]
    usable = [seen for seen in here if not seen.off]
    assert usable, f"{label} is {'switched off' if here else 'not there'}"
    if len(usable) <= MANY or usable[0].kind not in FAMILIES:
        return usable
    assert page.evaluate("all => hands.covered(all)", [seen.at for seen in usable]) == []
    return [usable[0], usable[len(usable) // 2], usable[-1]]


class Mouse:
    """A mouse."""

    def __init__(self, page):
        self.page = page

    def press(self, x: float, y: float) -> None:
        self.page.mouse.click(x, y)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(to_x, to_y, steps=3)
        self.page.mouse.up()


class Finger:
    """A finger on a screen that feels it."""

    def __init__(self, page):
        self.page, self.tools = page, page.context.new_cdp_session(page)

    def press(self, x: float, y: float) -> None:
        self.page.touchscreen.tap(x, y)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        for k in range(5):
            point = {"x": x + (to_x - x) * k / 4, "y": y + (to_y - y) * k / 4}
            touch = {"type": "touchMove" if k else "touchStart", "touchPoints": [point]}
            self.tools.send("Input.dispatchTouchEvent", touch)
        # It rests before it leaves: after a fling the browser swallows the next tap.
        self.page.wait_for_timeout(150)
        self.tools.send("Input.dispatchTouchEvent", touch)
        self.tools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


class Keys:
    """A keyboard and nothing else: Tab leads to a control, and keys move it."""

    def __init__(self, page):
        self.page = page

    def press(self, x: float = 0, y: float = 0) -> None:
        """What has the focus is pressed, wherever it lies."""
        self.page.keyboard.press("Enter")

    def reach(self, seen: Seen) -> None:
        """Tab, or back with Shift, until the control has the focus."""
        for _ in range(FAR):
            way = self.page.evaluate("at => hands.way(at)", seen.at)
            if not way:
                return
            self.page.keyboard.press(way)
        raise AssertionError(f"{seen.label} is out of reach of the Tab key")

    def misses(self) -> list[str]:
        """Go through the page once, from its top; the controls that Tab and arrows do not reach."""
        find(self.page)
        met: list[int] = []
        for _ in range(FAR):
            self.page.keyboard.press("Tab")
            at = self.page.evaluate("hands.focused()")
            if at in met or (at < 0 and met):
                break
            met += [at] if at >= 0 else []
        return self.page.evaluate("met => hands.missed(met)", met)

    def turn(self, seen: Seen, text: str) -> None:
        """Change a control that has the focus by the keys of its kind."""
        keys, aimed = ["Enter"], seen.aimed
        if seen.kind == "slider":
            one, more = ("Left", "Down") if aimed["share"] > 0.5 else ("Right", "Up")
            keys = [f"Arrow{one}", *[f"Page{more}"] * 6]
        elif seen.kind == "toggle":
            keys = ["Space"]
        elif seen.kind == "choice":
            keys = ["ArrowDown" if aimed["chosen"] + 1 < aimed["options"] else "Home"]
        elif seen.kind == "field":
            keys = ["Control+A"]
        for key in keys:
            self.page.keyboard.press(key)
        if seen.kind == "field":
            self.page.keyboard.insert_text(text)


HANDS = {"mouse": Mouse, "finger": Finger, "keys": Keys}


def aim(page, seen: Seen, at: tuple[float, float]) -> dict[str, Any]:
    """See where a control is, that a hand can reach it there, and that it is not switched off."""
    aimed = page.evaluate("([at, place]) => hands.aim(at, place)", [seen.at, list(at)])
    assert not aimed["covered"], f"{seen.label} lies below {aimed['covered']}"
    assert not aimed["off"], f"{seen.label} is switched off"
    return aimed


def move(hand, seen: Seen, does: Does) -> None:
    """Do with a control what a reader does, and look at it."""
    (type_at if isinstance(hand, Keys) else point_at)(hand, seen, does)
    if does.until:
        hand.page.get_by_text(does.until).first.wait_for()
    seen.now = hand.page.evaluate("at => hands.look(at)", seen.at)


def type_at(hand: Keys, seen: Seen, does: Does) -> None:
    """Reach a control by Tab, and move it by its keys.

    Of a row that is one stop of Tab, the arrows lead to each; they choose what they come to.
    """
    page = hand.page
    row = page.evaluate("at => hands.row(at)", seen.at)
    if row:
        seen.aimed = aim(page, seen, does.at)
        hand.reach(replace(seen, at=row["stop"]))
        for _ in range(abs(row["steps"])):
            page.keyboard.press("ArrowRight" if row["steps"] > 0 else "ArrowLeft")
        if not row["steps"]:
            hand.press()
        return
    hand.reach(seen)
    seen.aimed = aim(page, seen, does.at)
    if seen.kind == "file":
        choose_file(page, hand.press, does.text)
    elif does.downloads:
        with page.expect_download():
            hand.press()
    else:
        hand.turn(seen, str(does.text))


def point_at(hand: Mouse | Finger, seen: Seen, does: Does) -> None:
    """Press, drag or write where a control lies."""
    page, seen.hit = hand.page, does.at
    seen.aimed = a = aim(page, seen, does.at)
    if seen.kind == "slider":
        end = 0.15 if a["share"] > 0.5 else 0.85
        x, to_x = (a["left"] + 8 + share * (a["width"] - 16) for share in (a["share"], end))
        hand.drag(x, a["y"], to_x, a["y"])
    elif does.to:
        seen.hit = across, down = does.to
        to = a["left"] + across * a["width"], a["top"] + down * a["height"]
        hand.drag(a["x"], a["y"], *to)
    elif seen.kind == "file":
        choose_file(page, lambda: hand.press(a["x"], a["y"]), does.text)
    elif does.downloads:
        with page.expect_download():
            hand.press(a["x"], a["y"])
    elif seen.kind == "group":
        drop(page, a, does.text) if does.text else page.mouse.move(a["x"], a["y"])
    else:
        hand.press(a["x"], a["y"])
    if seen.kind == "field":
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(does.text)
    if seen.kind == "choice":
        choose(page, seen)


def choose(page, seen: Seen) -> None:
    """The next option of a list that a hand has opened: the list is the browser's own."""
    assert page.evaluate("at => hands.look(at)", seen.at)["reached"], (
        f"{seen.label} is out of reach"
    )
    page.keyboard.press("Escape")
    control = page.evaluate_handle("at => hands.control(at)", seen.at).as_element()
    control.select_option(index=(seen.aimed["chosen"] + 1) % seen.aimed["options"])


def choose_file(page, press: Callable[[], None], path: str | Path) -> None:
    """A file that is chosen in the browser's own window."""
    with page.expect_file_chooser() as asked:
        page.evaluate("calm()")  # it has answered, so it also knows that the window is asked for
        press()
    asked.value.set_files(path)


def drop(page, aimed: dict[str, Any], path: Path) -> None:
    """A file that is dragged from a folder and dropped."""
    tools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        where = {"type": kind, "x": aimed["x"], "y": aimed["y"], "data": data}
        tools.send("Input.dispatchDragEvent", where)
