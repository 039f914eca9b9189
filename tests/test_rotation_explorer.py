"""The rotation explorer: the page turns as gptlib.rope does, and the face says what is wrong."""

from __future__ import annotations

import math
import random
from contextlib import contextmanager

import matplotlib.pyplot as plt
import pytest
import torch
from scripts import in_script

from gptlib.rope import Rope, rope_speeds, scaled_base
from gptlib.widgets import RotationExplorer


@contextmanager
def double_precision():
    """The chapter's own code in 64 bits, in which the page computes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def random_widget(rng: random.Random) -> RotationExplorer:
    """Vectors of any even size and length, any base and stretching, any two places."""
    head_size = rng.choice([2, 4, 6, 16, 64, 128])
    query, key = ([rng.gauss(0, 1) for _ in range(head_size)] for _ in range(2))
    key_at, query_at = sorted((rng.randrange(513), rng.randrange(513)))
    return RotationExplorer(
        head_size, rng.choice([2, 100, 10_000, 500_000, 1e6]), query, key,
        scaling=rng.choice([1, 1.5, 4, 16]), trained=rng.choice([1, 32, 128, 1000]),
        query_at=query_at, key_at=key_at,
    )  # fmt: skip


def in_page(widget: RotationExplorer) -> list[list]:
    """What the page is asked of a widget: the calls of its functions."""
    hs, distance = widget.head_size, widget.query_at - widget.key_at
    before, now = (
        [base ** (-2 * i / hs) for i in range(hs // 2)]
        for base in (widget.base, scaled_base(widget.base, widget.scaling, hs))
    )
    q, k, m, n = widget.query, widget.key, widget.query_at, widget.key_at
    return [
        ["speedsOf", hs, widget.base], ["scaledBase", widget.base, widget.scaling, hs],
        ["turned", q, m, now], ["contributions", q, k, m, n, now], ["scoreOf", q, k, m, n, now],
        ["scoresByDistance", q, k, widget.reach, now], ["turnsIn", widget.trained, before],
        ["newAngles", distance, widget.trained, before, now],
    ]  # fmt: skip


def test_the_page_turns_and_scores_as_rope_does():
    rng = random.Random(0)
    widgets = [random_widget(rng) for _ in range(200)]
    answers = iter(in_script("turning.js", [call for w in widgets for call in in_page(w)]))
    news = set()
    for widget in widgets:
        got = [next(answers) for _ in range(8)]
        with double_precision():
            hs, at = widget.head_size, widget.query_at
            stretched = scaled_base(widget.base, widget.scaling, hs)
            rope = Rope(hs, 513, stretched)
            wanted = [
                rope_speeds(hs, widget.base), torch.tensor(stretched),
                rope(torch.tensor(widget.query)[None], start=at)[0], widget.contributions(),
                torch.tensor(widget.score()), widget.scores(), widget.turns_in_training(),
                widget.new_angles(),
            ]  # fmt: skip
        for page, python in zip(got, wanted, strict=True):
            close = {"rtol": 1e-9, "atol": 1e-9}
            torch.testing.assert_close(torch.tensor(page, dtype=python.dtype), python, **close)
        assert got[4] == pytest.approx(widget.score(), abs=2e-4)  # in 32 bits, as a model has it
        news |= set(got[7])
    assert news == {True, False}


def test_a_score_stays_where_both_are_shifted_and_moves_with_the_distance():
    rng = random.Random(1)
    q, k = ([rng.gauss(0, 1) for _ in range(8)] for _ in range(2))
    speeds = rope_speeds(8).tolist()
    places = [(28, 0), (40, 12), (512, 484), (29, 0)]
    scores = in_script("turning.js", [["scoreOf", q, k, m, n, speeds] for m, n in places])
    assert scores[:3] == pytest.approx([scores[0]] * 3, abs=1e-12)
    assert abs(scores[3] - scores[0]) > 0.01


def test_angles_are_new_where_the_training_never_turned_so_far():
    """One pair that turns 0.1 a token, trained on 10 tokens: 1 radian is known."""
    calls = [["newAngles", d, 10, [0.1], [0.1]] for d in (0, 10, 11, 62, 63, 72, 74)]
    once_round = [["newAngles", 500, 63, [0.1], [0.1]]]
    slowed = [["newAngles", d, 10, [0.1], [0.05]] for d in (20, 21)]
    found = [new for [new] in in_script("turning.js", calls + once_round + slowed)]
    assert found == [False, False, True, True, False, False, True, False, False, True]


def test_faces_are_spread_over_the_pairs():
    few, many = in_script("turning.js", [["withFaces", 8, 16], ["withFaces", 64, 16]])
    assert few == list(range(8))
    assert len(set(many)) == 16 and (many[0], many[-1]) == (0, 63) and many == sorted(many)


def test_numbers_are_written_short():
    calls = [["signed", x] for x in (0.416, -1.3, -0.001, 12)]
    calls += [["periodOf", 1, 1], ["periodOf", 0.01, 0.0045], ["fixed", -0.0001], ["fixed", -2.5]]
    assert in_script("dial.js", calls) == [
        *("+0.42", "−1.30", "+0.00", "+12.00", "6.28 tokens a turn", "628 → 1,400 a turn"),
        *("0.00", "−2.50"),
    ]


def test_the_face_says_what_its_figure_shows():
    plt.close("all")
    widget = RotationExplorer(4, query=[1, 0, 0, 0], key=[1, 1, 0, 0], query_at=3, key_at=1)
    assert widget.contributions().tolist() == pytest.approx([math.cos(2), 0], abs=1e-6)
    assert widget.scores()[:3].tolist() == pytest.approx([math.cos(d) for d in range(3)], abs=1e-6)
    assert "2 tokens apart they score -0.42; the pairs add -0.42, +0.00" in widget.words()
    assert "1 of 2 pairs went less than once round in 128 tokens" in widget.words()
    data, _ = widget._repr_mimebundle_()
    assert data["image/svg+xml"].startswith("<svg") and plt.get_fignums() == []
    for sizes in ({"head_size": 2, "reach": 5}, {"head_size": 34, "trained": 4000}):
        assert RotationExplorer(**sizes).draw().subfigs


def test_vectors_that_are_not_given_are_drawn_by_the_seed():
    one, same, other = (RotationExplorer(seed=s) for s in (0, 0, 1))
    assert one.query == same.query and one.key == same.key != other.key
    assert one.scores().argmax() == 0  # they are alike
    assert RotationExplorer(query=torch.ones(6, dtype=torch.bfloat16)).head_size == 6
    for vector in (one.query, one.key, other.key):
        lengths = torch.tensor(vector).view(2, -1).norm(dim=0)  # of each pair: about 1
        assert 0.7 <= lengths.min() < lengths.max() <= 1.3
    given = RotationExplorer(key=one.key)
    assert given.key == one.key and given.query == pytest.approx(one.query)
    given = RotationExplorer(query=one.query)
    assert given.query == one.query and given.key == pytest.approx(one.key)
    for given in ({"query": one.query}, {"key": one.query}):
        assert RotationExplorer(**given, seed=7).scores()[0] > 4
    assert (one.query_at, one.key_at) == (40, 12)
    assert RotationExplorer(reach=10).query_at == 10
    assert RotationExplorer(query_at=100).key_at == 72
    assert RotationExplorer(key_at=500).query_at == 512


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"head_size": 7}, "head_size must be even.* got 7"),
        ({"base": 1.0}, "base must be a finite number above 1; got 1.0"),
        ({"scaling": 0.5}, "scaling must be a finite number, 1 or more; got 0.5"),
        ({"head_size": 16, "query": [1.0] * 8}, "query must have head_size 16 numbers; got 8"),
        ({"query": [1.0] * 8, "key": [1.0] * 4}, "key must have head_size 8 numbers; got 4"),
        ({"query": torch.ones(1, 2, 3, 8)}, r"got \(1, 2, 3, 8\). Of x .* x\[0, 0, -1\] is one"),
        ({"key": torch.ones(())}, r"key must be one vector .* got \(\)"),
        ({"key": []}, r"key must be one vector .* got \(0,\)"),
        ({"query": "abcd"}, "query must be one vector .* got str"),
        ({"query": [1.0, math.nan]}, "got the number nan among them"),
        ({"query_at": 3, "key_at": 8}, "a query looks back; got key_at 8 and query_at 3"),
        ({"query_at": 513}, "<= reach 512"),
        ({"pair": 8}, "pair must be below 8; got 8"),
        ({"quary": [1.0]}, "no setting 'quary'.* Did you mean query"),
    ],
)
def test_a_mistake_is_answered_in_words(asked, said):
    with pytest.raises(Exception, match=said):
        RotationExplorer(**asked)


def test_traits_may_be_set_from_python():
    widget = RotationExplorer()
    widget.pair = 3
    assert (widget.pair, RotationExplorer(pair=7).pair, RotationExplorer().pair) == (3, 7, -1)
    with pytest.raises(Exception, match="drawn_to"):
        widget.drawn_to = -1
    widget.query_at = 200
    widget.base, widget.scaling = 500_000, 4
    assert widget.score() == pytest.approx(widget.scores()[188].item(), abs=1e-4)
    with pytest.raises(Exception, match="got key_at 201 and query_at 200"):
        widget.key_at = 201
    assert widget.key_at == 12
    widget.set_state({"query_at": 5, "key_at": 5})  # both at once, as the page does it
    assert (widget.query_at, widget.key_at) == (5, 5)
