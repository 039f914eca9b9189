"""The figures: one style, words with every picture, the same bytes for the same figure."""

import base64
import json
import math
import re
import struct
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from urllib.parse import unquote

import matplotlib
import pytest
from chapterfiles import ROOT

matplotlib.use("Agg")  # no window, whatever the machine

from matplotlib import pyplot as plt

from gptlib.given import plots


class Images(HTMLParser):
    """The attributes of each image of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        assert tag == "img"
        self.found.append(dict(attributes))


@pytest.fixture
def shown(monkeypatch):
    """Collects what `show` hands to the notebook: (data, metadata) pairs."""
    calls = []

    def display(data, metadata, raw):
        assert raw  # else a notebook would show the dict itself
        calls.append((data, metadata))

    monkeypatch.setattr(plots, "display", display)
    with matplotlib.rc_context():
        plots.style()
        yield calls


def line_figure():
    fig, ax = plt.subplots()
    ax.plot([1, 2, 3], [6.5, 1.0, 0.4], label="validation")
    ax.legend()
    return fig


def test_a_drawing_s_places_have_two_decimals_and_its_words_keep_theirs():
    fig, ax = plt.subplots()
    ax.plot([0, 1 / 3, 2], [0.1, 1 / 7, 1], marker="o")
    drawing = plots.svg_of(fig, "From 0.12345 up.")
    plt.close(fig)
    places = re.findall(r' (?:d|x|y|width|height)="([^"]*)"|translate\(([^)]*)\)', drawing)
    assert len(places) > 20 and not re.search(r"\.\d{3}", str(places))
    assert re.search(r"\.\d\d", str(places)) and "From 0.12345 up." in drawing


def test_the_alt_text_is_in_the_metadata_in_the_svg_and_in_the_plain_text(shown):
    alt = 'The loss falls from 6.5 to 0.4 & stays there: "done" <soon>.'
    plots.show(line_figure(), alt=alt)
    ((data, metadata),) = shown
    root = ElementTree.fromstring(data["image/svg+xml"])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == alt
    assert metadata["image/svg+xml"]["alt"] == alt
    assert alt in data["text/plain"]


@pytest.mark.parametrize("largest", [400_000, 1000])
def test_outside_of_the_book_the_words_stand_on_the_picture_itself(shown, monkeypatch, largest):
    """JupyterLab makes an `<img>` of a drawing and of pixels, and gives it no alt text."""
    alt = 'The loss falls to 0.4 & stays there: "done" <soon>.'
    plots.show(line_figure(), alt=alt)
    monkeypatch.delenv("GPTLIB_FIGURES")
    monkeypatch.setattr(plots, "MAX_SVG", largest)
    plots.show(line_figure(), alt=alt)
    bare, (data, metadata) = shown[0][0], shown[1]
    assert set(data) == {"text/html", "text/plain"} and metadata == {"text/html": {}}
    (image,) = Images(data["text/html"]).found
    assert image["alt"] == alt
    kind, _, content = image["src"].partition(",")
    if largest == 1000:
        assert kind == "data:image/png;base64" and 0.8 < int(image["width"]) / 640 < 1.1
        assert base64.b64decode(content)[:4] == b"\x89PNG"
    else:
        assert kind == "data:image/svg+xml" and unquote(content) == bare["image/svg+xml"]
        assert len(content) < 1.2 * len(bare["image/svg+xml"])


def test_line_breaks_in_the_alt_text_become_spaces(shown):
    plots.show(line_figure(), alt="Two\n    lines.")
    assert shown[0][1]["image/svg+xml"]["alt"] == "Two lines."


@pytest.mark.parametrize("alt", ["", "  \n", None, 3])
def test_a_figure_without_words_is_refused(shown, alt):
    with pytest.raises(ValueError, match="alt must be a sentence"):
        plots.show(line_figure(), alt=alt)
    assert shown == []
    plt.close("all")


def test_the_figure_is_closed(shown):
    before = set(plt.get_fignums())
    plots.show(line_figure(), alt="A falling line.")
    assert set(plt.get_fignums()) == before


def test_the_same_figure_gives_the_same_bytes(shown):
    for _ in range(2):
        plots.show(line_figure(), alt="A falling line.")
    assert shown[0][0] == shown[1][0]


def test_a_drawing_is_written_without_line_breaks_and_needless_decimals(shown):
    plots.show(line_figure(), alt="A falling line.")
    svg = shown[0][0]["image/svg+xml"]
    paths = re.findall(r' d="([^"]*)"', svg)
    assert "\n" not in svg and len(paths) > 10
    assert any("." in path for path in paths) and not re.search(r"\.\d{3}", "".join(paths))


def test_what_stands_outside_of_the_figure_s_edge_is_not_cut_off(shown):
    def size(fig):
        plots.show(fig, alt="A falling line.")
        svg = ElementTree.fromstring(shown[-1][0]["image/svg+xml"])
        return [float(part) for part in svg.get("viewBox").split()][2:]

    usual, labelled = line_figure(), line_figure()
    labelled.text(1.4, 1.3, "beside and above")
    (width, height), (wider, higher) = size(usual), size(labelled)
    assert wider > 1.4 * 72 * 6.4 > width and higher > 1.3 * 72 * 3.5 > height


def test_a_drawing_with_very_many_parts_travels_as_pixels(shown, monkeypatch):
    monkeypatch.setattr(plots, "MAX_SVG", 1000)
    plots.show(line_figure(), alt="A falling line.")
    ((data, metadata),) = shown
    assert "image/svg+xml" not in data
    png = base64.b64decode(data["image/png"])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    (width,) = struct.unpack(">I", png[16:20])
    assert metadata["image/png"] == {"alt": "A falling line.", "width": width // 2}
    assert 0.8 < width / 2 / 640 < 1.1  # as wide as the drawing, with twice the pixels
    assert b"Software" not in png  # another version of matplotlib gives the same bytes


def test_the_floor_is_a_labelled_line_at_its_value(shown):
    fig, ax = plt.subplots()
    line = plots.floor_line(ax, 0.382)
    assert list(line.get_ydata()) == [0.382, 0.382]
    assert line.get_label() == "floor 0.382"
    assert plots.floor_line(ax, 1 / 3, "best").get_label() == "best 0.333"
    assert line.get_color() == plots.GREY and line.is_dashed()
    plt.close(fig)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_floor_that_is_no_number_is_refused(shown, value):
    fig, ax = plt.subplots()
    with pytest.raises(ValueError, match="value must be a finite number"):
        plots.floor_line(ax, value)
    plt.close(fig)


def luminance(color):
    """Relative luminance of an sRGB colour, by the definition of WCAG 2."""
    channels = matplotlib.colors.to_rgb(color)
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_lines_can_be_told_apart_without_colour_and_seen_on_white(shown):
    assert len(set(plots.DASHES)) == len(plots.COLORS) == len(set(plots.COLORS))
    for start, lengths in (dashes for dashes in plots.DASHES if dashes != "-"):
        assert start == 0 and min(lengths) >= 1  # a short piece in a legend begins with ink
    fig, ax = plt.subplots()
    lines = [ax.plot([0, 1])[0] for _ in plots.COLORS]
    assert [line.get_color() for line in lines] == list(plots.COLORS)
    assert [line.is_dashed() for line in lines] == [False] + [True] * (len(lines) - 1)
    plt.close(fig)
    for color in (*plots.COLORS, plots.GREY):
        assert 1.05 / (luminance(color) + 0.05) > 2, color


def test_the_greys_that_chapters_draw_with_are_seen_on_white():
    """A healthy run behind a sick one is grey; WCAG asks 3:1 of what a drawing needs."""
    seen = []
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                seen += re.findall(r'["\'](#[0-9a-fA-F]{6})["\']', "".join(cell["source"]))
    assert "#858585" in seen  # that of the symptom lab
    assert [grey for grey in seen if 1.05 / (luminance(grey) + 0.05) < 3] == []
