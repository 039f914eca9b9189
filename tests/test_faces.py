"""What every face of a widget has to keep to: its traits are the whole truth, on a page too."""

from __future__ import annotations

import re

import pytest
import torch
from traitlets import TraitError

import gptlib.widgets
from gptlib.counts import cache_bytes
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.rope import Rope
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets import (
    AttentionExplorer,
    CacheGrowth,
    DistributionExplorer,
    ExpertRouting,
    LiveGPT,
    RotationExplorer,
    SignalExplorer,
    TokenizerExplorer,
    TrainingScrubber,
)
from gptlib.widgets.widget import Widget, bundle

PUBLIC = [getattr(gptlib.widgets, name) for name in gptlib.widgets.__all__]
FACES = [thing for thing in PUBLIC if isinstance(thing, type) and issubclass(thing, Widget)]
every_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)


def own_traits(face):
    """The traits that a face adds to what every widget has."""
    return {n: t for n, t in face.class_traits().items() if n not in Widget.class_traits()}


@every_face
def test_every_trait_goes_to_the_page_and_its_script_knows_it(face):
    """A page without Python has the traits that are synchronised, and nothing else."""
    traits, script = own_traits(face), bundle(f"{face.__module__.rpartition('.')[2]}.js")
    assert len(traits) >= 5
    assert [name for name, trait in traits.items() if not trait.metadata.get("sync")] == []
    asked = set(re.findall(r'model\.(?:get|set)\("(\w+)"', script))
    assert asked and asked <= set(traits)
    words = set(re.findall(r"\w+", script))
    assert set(traits) <= words


@every_face
def test_what_a_face_begins_with_is_allowed(face):
    """The default of a trait lies within its bounds, which nobody looks at before it is set."""
    for name, trait in own_traits(face).items():
        value = trait.default_value
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = (getattr(trait, end, None) for end in ("min", "max"))
            assert low is None or value >= low, name
            assert high is None or value <= high, name


# The figures that stand in ------------------------------------------------------------------------


LETTERS = CharTokenizer("abcdefgh")
TEXT = "abcabcah"


def small_gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(LETTERS.vocab_size, 24, n_layer=2, n_head=2, n_embd=16)).eval()


def near(values, rel=1e-5):
    """The same numbers, as far as a figure needs them."""
    return pytest.approx([float(value) for value in values], rel=rel, abs=1e-6)


def lengths(ax) -> list[float]:
    """The lengths of the bars of an axis that lie."""
    return [bar.get_width() for bar in ax.patches]


def ticks(axis) -> list[str]:
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_a_distribution_s_figure_has_the_most_likely_tokens():
    logits = torch.randn(20, generator=torch.Generator().manual_seed(0))
    widget = DistributionExplorer(logits, [f"t {i}" for i in range(20)], temperature=0.7)
    (ax,) = widget.draw().axes
    best = widget.probs().topk(12)
    assert lengths(ax) == near(best.values)
    assert ticks(ax.yaxis) == [f"t␣{i}" for i in best.indices]
    assert ax.yaxis_inverted() and ax.get_xlabel() == "probability"


def test_the_figure_of_a_model_in_the_page_has_its_most_likely_tokens():
    widget = LiveGPT(small_gpt(), LETTERS, TEXT)
    (ax,) = widget.draw().axes
    best = widget.probs().sort(descending=True)
    assert lengths(ax) == near(best.values)
    assert ticks(ax.yaxis) == [LETTERS.decode([i]) for i in best.indices.tolist()]
    assert widget.words().count("%") == 3  # the three likeliest
    widget.at = 0  # nothing stands before it: the place behind the text
    assert torch.equal(widget.probs(), best.values[best.indices.argsort()])


def test_a_widget_s_numbers_have_their_bounds():
    given = small_gpt(), TEXT, LETTERS
    assert AttentionExplorer(*given, query=-1).query == -1  # the last one
    assert SignalExplorer(gain=10.0, batch=4).gain == 10
    for make, name, value in (
        (lambda **asked: AttentionExplorer(*given, **asked), "query", -2),
        (SignalExplorer, "gain", 10.5),
        (SignalExplorer, "gain", -0.5),
    ):
        with pytest.raises(TraitError, match=name):
            make(**{name: value})


def test_an_attention_explorer_s_figure_has_the_map_and_one_row():
    widget = AttentionExplorer(small_gpt(), TEXT, LETTERS, layer=1, head=1, query=5)
    left, right = widget.draw().axes
    (image,) = left.get_images()
    torch.testing.assert_close(torch.tensor(image.get_array()), widget.table().sqrt())
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    assert left.lines[0].get_ydata()[0] == 5
    best = widget.weights().sort(descending=True)
    assert lengths(right) == near(best.values) and right.get_xlim() == (0, 1)
    assert ticks(right.yaxis) == [f"{TEXT[i]} {i}" for i in best.indices.tolist()]
    assert f"{TEXT[5]}, takes most from: {TEXT[best.indices[0]]}" in widget.words()


def test_a_cache_s_figure_has_its_bytes_beside_those_of_all_heads():
    widget = CacheGrowth("gpt2-xl", n_kv_head=5, n_tokens=100, window=300)
    (ax,) = widget.draw().axes
    held, whole, here = (line.get_xydata() for line in ax.lines)
    assert held[0, 0] == whole[0, 0] == 1 and held[-1, 0] == whole[-1, 0] == 1024
    config = GPTConfig.preset("gpt2-xl")
    assert whole[:, 1].tolist() == near(cache_bytes(config, int(n)) / 1e6 for n in whole[:, 0])
    fifth = (cache_bytes(config, min(int(n), 300)) / 5e6 for n in held[:, 0])
    assert held[:, 1].tolist() == near(fifth)
    assert here[0].tolist() == near([100, cache_bytes(config, 100) / 5e6])
    assert ax.get_legend_handles_labels()[1] == [
        "5 key/value heads, window 300",
        "all heads, no window",
    ]


def test_an_expert_s_bar_is_its_share_of_the_tokens():
    torch.manual_seed(0)
    config = ModernConfig.preset("stories-experts", vocab_size=LETTERS.vocab_size, n_layer=2)
    widget = ExpertRouting(ModernGPT(config), TEXT, LETTERS, layer=1)
    (ax,) = widget.draw().axes
    assert [bar.get_height() for bar in ax.patches] == near(100 * share for share in widget.load())
    assert ax.lines[0].get_ydata()[0] == 25 and ax.lines[0].get_label() == "even: 25.0 %"
    assert ticks(ax.xaxis) == [str(e) for e in range(8)]


def test_clock_faces_have_the_turned_hands_and_the_scores_below_them():
    widget = RotationExplorer(12, query_at=40, key_at=31, reach=200, trained=64)
    figure = widget.draw()
    above, below = figure.subfigs
    faces = [ax for ax in above.axes if ax.axison]
    assert len(faces) == 6 and len(above.axes) == 8  # two rows of four
    rope = Rope(12, 201)
    vectors = torch.tensor([widget.key, widget.query])  # (2, hs)
    longest = vectors.view(2, 2, 6).norm(dim=1).max()
    for pair, ax in enumerate(faces):
        for line, x, at in zip(ax.lines, vectors, (31, 40), strict=False):
            end = rope(x[None], start=at)[0, [pair, pair + 6]] * 0.85 / longest
            assert line.get_xydata().flatten().tolist() == near([0, 0, *end], rel=1e-4)
        circle = torch.tensor(ax.lines[2].get_xydata())
        torch.testing.assert_close(circle.norm(dim=1), torch.ones(61, dtype=circle.dtype))
        (key, query, _), added = ax.lines, widget.contributions()[pair].item()
        assert (key.get_label(), query.get_label()) == ("key at 31", "query at 40")
        assert key.get_linestyle() != query.get_linestyle() == "-"
        assert ax.get_title() == f"pair {pair}: {added:+.2f}".replace("-", "−")
    (ax,) = below.axes
    curve, dot = ax.lines
    assert curve.get_ydata().tolist() == near(widget.scores())
    assert dot.get_xydata()[0].tolist() == near([9, widget.score()])
    assert "grey: beyond the 64 tokens" in ax.get_title(loc="left") + ax.get_title()
    assert ax.get_xlim() == (0, 200)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("distance, in tokens", "score q · k")


def test_a_signal_s_figure_has_its_sizes():
    widget = SignalExplorer(depth=5, width=8, batch=4, gain=1.2)
    left, right = widget.draw().axes
    sizes = widget.sizes()
    assert left.lines[0].get_ydata().tolist() == near(sizes["numbers"])
    assert left.lines[1].get_ydata().tolist() == near(sizes["differ"])
    assert right.lines[0].get_ydata().tolist() == near(sizes["weights"])
    assert right.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert {ax.get_yscale() for ax in (left, right)} == {"log"}


def test_a_tape_s_figure_has_its_curves_and_its_words():
    healthy = {"step": [0, 10, 20], "val": [4.0, 3.0, 2.0]}
    run = {
        "step": [0, 10, 20, 30, 40], "val": [4.0, 3.5, 3.0, 2.5, 2.25],
        "train": [None, 3.0, 2.5, 2.0, 1.5], "skills": {"name": [0.0, 0.2, 0.4, 0.6, 0.9]},
        "text": ["a", " b", "c", "d", "e$"],
    }  # fmt: skip
    band = {"step": [0, 40], "low": [3.9, 2.0], "high": [4.1, 2.4]}
    widget = TrainingScrubber({"healthy": healthy, "mine": run}, shown=1, floor=1.5, band=band)
    left, right, below = widget.draw().axes
    lines = {line.get_label(): line for line in left.lines}
    assert lines["healthy"].get_xydata().tolist() == [[0, 4], [10, 3], [20, 2]]
    assert lines["validation"].get_ydata().tolist() == run["val"]
    assert lines["training"].get_ydata().tolist()[1:] == run["train"][1:]
    assert lines["training"].get_linestyle() != lines["validation"].get_linestyle() == "-"
    assert any(1.5 in line.get_ydata() for line in left.lines)
    (shade,) = left.collections
    corners = {tuple(corner) for corner in shade.get_paths()[0].vertices.tolist()}
    assert {(0, 3.9), (0, 4.1), (40, 2.0), (40, 2.4)} <= corners
    assert right.lines[0].get_ydata().tolist() == run["skills"]["name"]
    assert right.get_legend_handles_labels()[1] == ["name"]
    said = [(text.get_position()[1], text.get_text()) for text in below.texts]
    assert said == [(1, "step 10: … b"), (0.75, r"step 40: … e\$")]


def test_a_tokenizer_s_figure_has_a_box_for_every_piece():
    tokenizer = BPETokenizer([(97, 98), (256, 99)])
    (ax,) = TokenizerExplorer(tokenizer, "abcé").draw().axes
    texts = [text.get_text() for text in ax.texts]
    boxes = ["a", "b", "c", "é", "97", "98", "99", "195", "169", "abc"]
    assert len(ax.patches) == 4 + 5 + 3  # the two bytes of é are tokens of their own
    assert [text for text in texts if text in boxes] == boxes


def test_the_boxes_of_a_long_text_stand_in_rows_below_one_another_and_none_covers_another():
    (ax,) = TokenizerExplorer(BPETokenizer([(97, 98)]), "abc" * 30).draw().axes
    boxes = [(b.get_x(), b.get_y(), b.get_x() + b.get_width(), b.get_y() + 1) for b in ax.patches]
    assert len({top for _, top, _, _ in boxes}) > 6  # three lines, each too long for one row
    tops = [top for _, top, _, _ in boxes]
    assert tops == sorted(tops)
    for i, (left, top, right, foot) in enumerate(boxes):
        for x, y, end, low in boxes[:i]:
            assert right <= x or end <= left or foot <= y or low <= top
    low, high = ax.get_ylim()
    assert high < min(tops) and max(tops) + 1 < low
