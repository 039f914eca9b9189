"""The drawings: the numbers in them are the true ones, and everybody can read them."""

import matplotlib
import pytest
import torch

matplotlib.use("Agg")  # no window, whatever the machine

from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from gptlib import attention
from gptlib.given import drawing, plots, schematics

TOKENS = ["Nora", "had", "an", "emerald", "doll"]


def random(*size):
    return torch.randn(*size, generator=torch.Generator().manual_seed(0))


DRAWINGS = {
    "lookup": lambda: schematics.lookup(TOKENS, [0, 4, 0], random(5, 3), random(5, 4), decimals=1),
    "causal_mask": lambda: schematics.causal_mask(TOKENS, random(5, 5)),
    "heads": lambda: schematics.heads(torch.arange(12).view(3, 4), n_head=2),
    "block": lambda: schematics.block(B=8, T=128, C=64, n_head=4),
    "gpt": lambda: schematics.gpt(8, 100, 64, 1536, n_layer=4, n_head=4, context_length=128),
    "gpt2": lambda: schematics.gpt(8, 1024, 768, 50257, 12, 12, context_length=1024, tied=True),
}
every_drawing = pytest.mark.parametrize("name", DRAWINGS)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(fig) -> list[str]:
    """What is written in a drawing, from its first piece to its last."""
    return [text.get_text() for text in fig.axes[0].texts if text.get_text()]


def hatched(fig) -> int:
    return sum(bool(patch.get_hatch()) for patch in fig.axes[0].patches)


# The numbers -------------------------------------------------------------------------------------


def test_lookup_is_attention_of_one_query():
    query, keys, values = random(1, 3), random(5, 3) * 2, random(5, 2)
    fig, alt = schematics.lookup(TOKENS, query[0], keys, values)
    # The function of chapter 3 divides by the square root of the query's length; this one does not.
    weights = attention.attention_weights(query * 3**0.5, keys)  # (1, 5)
    mixed = (weights @ values)[0]  # (2)
    wanted = [drawing.written(float(w), 2) for w in weights[0]]
    assert [t for t in texts(fig) if t in wanted][:5] == wanted
    assert texts(fig)[-2:] == [drawing.written(float(v), 2) for v in mixed]
    assert all(number in alt for number in (*wanted, *texts(fig)[-2:]))
    assert {"query of “doll”", "key", "score", "weight", "value"} <= set(texts(fig))


def test_the_causal_mask_leaves_what_attention_leaves():
    scores = random(5, 5) * 2
    fig, alt = schematics.causal_mask(TOKENS, scores)
    mask = attention.causal_mask(5)
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    for row, seen in zip(weights, mask, strict=True):
        wanted = ", ".join(drawing.written(float(w), 2) for w in row[seen])
        assert f": {wanted}" in alt
        assert set(wanted.split(", ")) <= set(texts(fig))
    assert hatched(fig) == 2 * (~mask).sum()


def test_the_heads_are_those_of_the_chapter():
    x = torch.arange(12).view(3, 4)
    fig, _ = schematics.heads(x, n_head=2)
    written = [int(t) for t in texts(fig) if t.isdigit()]
    by_token = x.view(3, 2, 2)
    by_head = by_token.transpose(0, 1)
    # A table whose columns are cut is drawn head by head.
    assert written[:12] == written[36:] == written[24:36] == by_head.flatten().tolist()
    assert written[12:24] == by_token.flatten().tolist()
    assert "(B, n_head, T, hs) = (1, 2, 3, 2)" in texts(fig)


def test_a_number_keeps_the_colour_of_its_head_through_all_stages():
    fig, _ = schematics.heads(torch.arange(24).view(3, 8), n_head=4)
    (ax,) = fig.axes
    filled = [patch for patch in ax.patches if patch.get_facecolor()[3]]
    seen = {}
    for text in (text for text in ax.texts if text.get_text().isdigit()):
        x, y = text.get_position()
        (cell,) = (patch for patch in filled if patch.get_bbox().contains(x, y))
        seen.setdefault(int(text.get_text()), []).append(cell.get_facecolor())
    assert [len(colours) for colours in seen.values()] == [4] * 24
    colours = [{seen[number][stage] for stage in range(4)} for number in range(24)]
    assert all(len(of_one) == 1 for of_one in colours)
    assert [colours[i] for i in range(24)] == [colours[i % 8 // 2 * 2] for i in range(24)]
    assert len(set(map(frozenset, colours))) == 4


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="n_head must divide the 4 numbers"):
        schematics.heads(torch.zeros(3, 4), n_head=3)


def test_the_shapes_of_the_block_are_those_handed_in():
    fig, alt = schematics.block(B=2, T=5, C=12, n_head=3)
    assert texts(fig).count("x (B, T, C) = (2, 5, 12)") == 2
    assert {"3 heads of (5, 4)", "12 to 48 to 12 numbers"} <= set(texts(fig))
    assert texts(fig).count("shortcut") == texts(fig).count("+") == 2
    assert "(2, 5, 12)" in alt


@pytest.mark.parametrize("tied", [False, True])
def test_the_shapes_of_the_gpt_are_those_handed_in(tied):
    fig, alt = schematics.gpt(2, 5, 12, 1000, 3, 2, context_length=8, tied=tied)
    wanted = {"idx (2, 5)", "(1,000, 12)", "(8, 12)", "(12, 1,000)", "logits (2, 5, 1,000)"}
    assert wanted <= set(texts(fig))
    assert texts(fig).count("(2, 5, 12)") == 5
    assert ("the same numbers" in texts(fig)) == ("numbers of token_embedding" in alt) == tied


def test_a_number_in_a_cell():
    assert drawing.written(-1.25, 1) == "−1.2"
    assert [drawing.written(v, 0) for v in (3.0, -0.4, 0)] == ["3", "0", "0"]


# Whoever looks -----------------------------------------------------------------------------------


@every_drawing
def test_it_is_as_narrow_as_a_telephone(name):
    fig, _ = DRAWINGS[name]()
    assert fig.get_size_inches()[0] * 72 < 340  # points; the page is shrunk by a fifth at most
    assert min(text.get_size() for text in fig.axes[0].texts) >= drawing.SMALL


@every_drawing
def test_nothing_is_cut_and_no_two_words_overlap(name):
    fig, _ = DRAWINGS[name]()
    renderer = fig.canvas.get_renderer()
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in fig.axes[0].texts
        if text.get_text()
    ]
    for i, (text, box) in enumerate(boxes):
        assert fig.bbox.padded(1).containsx(box.x0) and fig.bbox.padded(1).containsx(box.x1), text
        assert fig.bbox.padded(1).containsy(box.y0) and fig.bbox.padded(1).containsy(box.y1), text
        for other, second in boxes[:i]:
            assert not box.padded(-1).overlaps(second.padded(-1)), (text, other)


@every_drawing
def test_no_arrow_begins_or_ends_in_the_void(name):
    """Each end touches a box, a table, a plus, a line of words or another arrow."""
    fig, _ = DRAWINGS[name]()
    (ax,) = fig.axes
    renderer, back = fig.canvas.get_renderer(), ax.transData.inverted()
    things = [patch.get_bbox() for patch in ax.patches if isinstance(patch, Rectangle)]
    # Words to the right of a point are those of an arrow itself.
    for text in (text for text in ax.texts if text.get_text() and text.get_ha() != "left"):
        things.append(text.get_window_extent(renderer).transformed(back))
    heads = [text.xy for text in ax.texts if not text.get_text() and hasattr(text, "xy")]
    lines = [[tuple(point) for point in line.get_xydata()] for line in ax.lines]
    arrows = [(*line, head) for line, head in zip(lines, heads, strict=True)]
    assert arrows

    def away(point, box) -> float:
        x, y = point
        return max(box.xmin - x, x - box.xmax, box.ymin - y, y - box.ymax, 0)

    def forks(point, arrow) -> bool:
        (x0, y0), (x1, y1) = arrow[0], arrow[-1]
        return x0 == x1 == point[0] and y0 < point[1] < y1

    for arrow in arrows:
        assert arrow[0] != arrow[-1]
        for end in (arrow[0], arrow[-1]):
            nearest = min(away(end, box) for box in things)
            assert nearest < 0.5 or any(forks(end, other) for other in arrows), (end, nearest)


@every_drawing
def test_words_stand_out_from_what_they_stand_on(name):
    fig, _ = DRAWINGS[name]()

    def luminance(color):
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in colors.to_rgb(color)
        ]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    fills = [p for p in fig.axes[0].patches if isinstance(p, Rectangle) and p.get_facecolor()[3]]
    dark = max(luminance(text.get_color()) for text in fig.axes[0].texts)
    light = min(luminance(patch.get_facecolor()) for patch in fills)
    assert (light + 0.05) / (dark + 0.05) > 7  # WCAG's contrast for everyone


@every_drawing
def test_it_goes_out_with_its_words(name, monkeypatch):
    calls = []
    monkeypatch.setattr(plots, "display", lambda data, metadata, raw: calls.append(data))
    for _ in range(2):
        plots.show(*DRAWINGS[name]())
    (svg, again) = (data["image/svg+xml"] for data in calls)
    assert svg == again and len(svg) < 100_000
    assert 40 < len(DRAWINGS[name]()[1].split()) < 120
