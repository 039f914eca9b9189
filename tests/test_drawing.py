"""The pieces of the drawings: each stands where it is put, and what is hidden is hatched."""

from __future__ import annotations

import matplotlib
import pytest

matplotlib.use("Agg")  # no window, whatever the machine

from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba

from gptlib.given import drawing
from gptlib.given.drawing import ROW, TINTS


@pytest.fixture
def ax():
    """An empty drawing of twelve by eight units."""
    fig, ax = drawing.canvas(12, 8)
    yield ax
    plt.close(fig)


def texts(ax) -> dict[str, tuple[float, float]]:
    """What is written, and where."""
    return {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}


def near(*place):
    return pytest.approx(place)


def corners(patch) -> tuple[float, ...]:
    """The edges of a rectangle: left, upper, right, lower."""
    x, y, width, height = patch.get_bbox().bounds
    return (x, y, x + width, y + height)


def test_a_drawing_counts_from_its_upper_left_corner_and_a_unit_is_a_unit(ax):
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 12), (8, 0))
    width, height = ax.figure.get_size_inches()
    assert width / 12 == pytest.approx(height / 8)
    assert ax.get_position().bounds == (0, 0, 1, 1) and not ax.axison


def test_each_number_of_a_table_stands_in_the_middle_of_its_cell(ax):
    below = drawing.table(ax, 1, 2, [[11, 12], [21, 22], [31, 32]], cell=1.5, tint=2)
    assert below == pytest.approx(2 + 3 * ROW)
    cells = {(i, j): (1 + 1.5 * j, 2 + ROW * i) for i in range(3) for j in range(2)}
    for (i, j), (x, y) in cells.items():
        assert texts(ax)[f"{10 * (i + 1) + j + 1}"] == near(x + 0.75, y + ROW / 2)
    filled, framed = ax.patches[::2], ax.patches[1::2]
    for patches in (filled, framed):
        assert [corners(patch) for patch in patches] == [
            near(x, y, x + 1.5, y + ROW) for x, y in cells.values()
        ]
    assert {patch.get_facecolor() for patch in filled} == {to_rgba(TINTS[2])}
    # The frame lies above the filling, and must not cover it.
    assert all(patch.get_facecolor()[3] == 0 < patch.get_linewidth() for patch in framed)


def test_the_future_is_hatched_and_holds_no_number(ax):
    drawing.table(ax, 0, 0, [[0.5, 0.25], [0.125, 1]], decimals=3, bars=True, causal=True)
    assert set(texts(ax)) == {"0.500", "0.125", "1.000"}
    assert [patch.get_hatch() or "" for patch in ax.patches[1::2]] == ["", "////", "", ""]
    shares = [patch.get_width() / ROW for patch in ax.patches[::2]]
    assert shares == pytest.approx([0.5, 0, 0.125, 1])  # as full as the number says


def test_names_stand_beside_the_middle_of_their_rows_and_above_that_of_their_columns(ax):
    drawing.names(ax, 3, 2, ["first", "second"])
    drawing.names(ax, 3, 2, ["left", "right"], cell=1.2)
    rows, columns = ax.texts[:2], ax.texts[2:]
    for i, text in enumerate(rows):
        x, y = text.get_position()
        assert x < 3 and text.get_ha() == "right" and y == pytest.approx(2 + (i + 0.5) * ROW)
    for i, text in enumerate(columns):
        x, y = text.get_position()
        assert y < 2 and text.get_va() == "bottom" and x == pytest.approx(3 + (i + 0.5) * 1.2)
    assert [text.get_text() for text in ax.texts] == ["first", "second", "left", "right"]


@pytest.mark.parametrize("shape", ["", "(B, T, C)"])
def test_a_box_holds_its_words_one_above_the_other_and_tells_its_lower_edge(ax, shape):
    below = drawing.box(ax, 5, 2, "norm", shape, tint=1, width=4)
    (patch,) = ax.patches
    assert corners(patch) == near(3, 2, 7, below)
    assert patch.get_facecolor() == to_rgba(TINTS[1]) and patch.get_linewidth() > 0
    x, y = texts(ax)["norm"]
    assert x == 5 and 2 + 0.4 < y < below - 0.4
    if shape:
        assert texts(ax)[shape][0] == 5 and y + 0.4 < texts(ax)[shape][1] < below - 0.4
    else:
        assert y == pytest.approx((2 + below) / 2)


@pytest.mark.parametrize("dashed", [True, False])
def test_an_arrow_goes_through_its_points_and_its_words_stand_at_its_beginning(ax, dashed):
    drawing.arrow(ax, (1, 1), (1, 3), (6, 3), (6, 5), label="in", dashed=dashed)
    (line,) = ax.lines
    assert [tuple(point) for point in line.get_xydata()] == [(1, 1), (1, 3), (6, 3)]
    assert line.is_dashed() == dashed and line.get_linewidth() > 0.5
    head = next(text for text in ax.texts if text.get_text() == "")
    assert (head.xy, head.xyann) == ((6, 5), (6, 3))  # the head is at the last point
    label = next(text for text in ax.texts if text.get_text() == "in")
    x, y = label.get_position()
    assert (label.get_ha(), y) == ("left", 2) and 1 < x < 1.5


def test_a_plus_is_a_sign_in_a_circle(ax):
    drawing.plus(ax, 4, 5)
    assert texts(ax) == {"+": (4, 5)}
    assert ax.texts[0].get_bbox_patch().get_boxstyle().__class__.__name__ == "Circle"


def test_letters_are_large_enough_to_read():
    assert 8 <= drawing.SMALL < drawing.LARGE <= 12


def test_a_number_is_written_with_a_true_minus_and_never_as_minus_zero():
    told = [drawing.written(value, 2) for value in (-0.004, -1.5, 0, 2)]
    assert told == ["0.00", "−1.50", "0.00", "2.00"]
