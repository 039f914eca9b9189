"""What the page knows of experts and tokens, beside the model's own routing."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from scripts import in_script
from traitlets import TraitError

from gptlib import corpus
from gptlib.corpus.scoring import AnswerKey
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets import ExpertRouting

LETTERS = CharTokenizer("lower, lowest; and <more>")
TEXT = "lower lowest and more lower"


def model(tokenizer=LETTERS, seed=0, **changes) -> ModernGPT:
    """A small one whose experts are asked unevenly, and whose blocks change what comes next."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": tokenizer.vocab_size, "context_length": 200, "n_layer": 3}
    made = ModernGPT(ModernConfig.preset("stories-experts", **{**sizes, **changes}))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


@cache
def book_tokenizer() -> BPETokenizer:
    return BPETokenizer.train(corpus.load("stories", n=100), 600, special_tokens=[corpus.END])


def routes_of(made, idx, training=False):
    routes = []
    with torch.no_grad():
        made.train(training)(idx, routes=routes)
    return routes


def unpacked(widget):
    """The three traits as tensors (R, L, T, K)."""
    shape = (-1, widget.n_layer, len(widget.labels), widget.n_active)
    kinds = {"chosen": "<u2", "weights": "<f4", "answered": "u1"}
    return {
        name: np.frombuffer(getattr(widget, name), kind).reshape(shape)
        for name, kind in kinds.items()
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("changes", [{}, {"n_active": 1, "n_expert": 5}, {"n_active": 3}])
def test_the_traits_are_the_model_s_routing(seed, changes):
    made = model(seed=seed, capacity=0.5, **changes)
    widget = ExpertRouting(made, TEXT, LETTERS)
    idx = torch.tensor([LETTERS.encode(TEXT)])
    found = unpacked(widget)
    for way, training in enumerate((False, True)):
        routes = routes_of(made, idx, training)
        assert len(routes) == widget.n_layer == 3
        for layer, one in enumerate(routes):
            for name, got in found.items():
                assert np.array_equal(got[way, layer], getattr(one, name)[0].numpy())
    assert found["answered"][0].all() and not found["answered"][1].all()
    K, E = made.config.n_active, made.config.n_expert
    assert widget.room == math.ceil(0.5 * len(TEXT) * K / E)
    asked = np.bincount(found["chosen"][1, -1][found["answered"][1, -1] > 0].ravel())
    assert asked.max() == widget.room  # nobody answers more


def test_the_page_reads_and_counts_what_the_traits_hold():
    for seed in range(5):
        widget = ExpertRouting(model(seed=seed, capacity=0.7), TEXT, LETTERS)
        T, E = len(TEXT), widget.n_expert
        sizes = {"n_layer": 3, "n_active": 2, "n_expert": E, "n_token": T, "limited": True}
        given = [list(getattr(widget, name)) for name in ("chosen", "weights", "answered")]
        [ways] = in_script("routing.js", [["unpackedRoutes", sizes, *given]])
        for limited, way in enumerate(ways):
            widget.limited = bool(limited)
            for layer, page in enumerate(way):
                widget.layer = layer
                one = widget.routing()
                told = [[(k["expert"], k["weight"], k["answered"]) for k in t]
                        for t in page["routes"]]  # fmt: skip
                wanted = zip(one.chosen[0], one.weights[0], one.answered[0], strict=True)
                assert told == [
                    [*zip(*(part.tolist() for part in parts), strict=True)] for parts in wanted
                ]
                assert [e["asked"] / T for e in page["load"]] == pytest.approx(widget.load())
                lost = one.chosen[~one.answered]
                wanted = torch.bincount(lost, minlength=E).tolist()
                assert [e["dropped"] for e in page["load"]] == wanted
    calls = [
        ["sharesOf", [1, 3]], ["sharesOf", [0, 0]],
        ["busiest", [{"asked": 1}, {"asked": 4}, {"asked": 4}]],
    ]  # fmt: skip
    assert in_script("routing.js", calls) == [[0.25, 0.75], [0, 0], 1]


def test_a_model_is_left_as_it_was():
    made = model(capacity=0.5).train()
    before = {name: weight.clone() for name, weight in made.state_dict().items()}
    ExpertRouting(made, TEXT, LETTERS, capacity=0.1)
    assert made.training and made.blocks[0].feed_forward.capacity == 0.5
    assert all(torch.equal(weight, before[name]) for name, weight in made.state_dict().items())


@pytest.mark.parametrize("own", [None, 1.5])
def test_a_capacity_that_is_given_counts_for_every_block(own):
    widget = ExpertRouting(model(capacity=own), TEXT, LETTERS, capacity=0.4)
    wanted = ExpertRouting(model(capacity=0.4), TEXT, LETTERS)
    assert widget.answered == wanted.answered and widget.chosen == wanted.chosen
    assert widget.room == wanted.room == math.ceil(0.4 * 27 * 2 / 8)
    assert ExpertRouting(model(capacity=None), TEXT, LETTERS).room == 0  # nothing to switch on


def test_the_table_counts_the_tokens_before_each_skill():
    made = model(book_tokenizer())
    told = [s for s in corpus.stories(12, seed=4) if len(book_tokenizer().encode(s.text)) < 190]
    widget = ExpertRouting(made, told[0], book_tokenizer(), stories=told)
    key = AnswerKey(told, book_tokenizer())
    routes = routes_of(made, key.idx)
    assert {row["skill"] for row in widget.counted} == set(key.places)
    for row in widget.counted:
        places = key.places[row["skill"]]
        assert row["tokens"] == sum(end - first for _, first, end in places)
        for layer, asked in enumerate(row["asked"]):
            wanted = [0] * widget.n_expert
            for n, first, end in places:
                for expert in routes[layer].chosen[n, first:end].flatten().tolist():
                    wanted[expert] += 1
            assert asked == wanted
    assert [row["tokens"] for row in widget.counted] == sorted(
        (row["tokens"] for row in widget.counted), reverse=True
    )
    # in the text that is shown, the mark stands on the token before: it has to guess
    story = told[0]
    skill, start, _ = story.labels[0]
    told_so_far = book_tokenizer().decode(book_tokenizer().encode(story.text)).index(story.text)
    place = widget.skills.index(skill)
    read = "".join(widget.labels[1 : place + 1]).replace("␣", " ").replace("⏎", "\n")
    assert told_so_far == 0 and story.text.startswith(read) and len(read) <= start
    assert len(read) + len(widget.labels[place + 1]) > start
    alone = ExpertRouting(made, story, book_tokenizer())
    assert sum(row["tokens"] for row in alone.counted) == sum(map(bool, alone.skills))


def test_nothing_is_picked_at_first_and_one_token_is_a_text():
    widget = ExpertRouting(model(), "l", LETTERS)
    assert (widget.layer, widget.expert, widget.token, widget.labels) == (0, -1, -1, ["l"])


def test_labels_of_your_own():
    vowels = ["vowel" if letter in "aeo" else "" for letter in TEXT]
    widget = ExpertRouting(model(), TEXT, LETTERS, skills=vowels)
    [row] = widget.counted
    assert row["skill"] == "vowel" and row["tokens"] == vowels.count("vowel")
    assert all(sum(asked) == 2 * row["tokens"] for asked in row["asked"])
    assert widget.skills == vowels and widget.labels[5] == "␣"


def test_end_stands_in_front_and_is_called_so():
    tokenizer = book_tokenizer()
    widget = ExpertRouting(model(tokenizer), "A fox.", tokenizer)
    assert widget.labels[0] == "END" and len(widget.labels) == 1 + len(tokenizer.encode("A fox."))
    idx = torch.tensor([[tokenizer.special_tokens[corpus.END], *tokenizer.encode("A fox.")]])
    wanted = routes_of(model(tokenizer), idx)[0].chosen
    assert torch.equal(widget.routing().chosen, wanted)


def test_words_and_balance_are_those_of_the_load():
    widget = ExpertRouting(model(capacity=0.5), TEXT, LETTERS, layer=1)
    load = widget.load()
    assert sum(load) == pytest.approx(2) and f"by {max(load):.1%} of the tokens" in widget.words()
    assert "Nobody is dropped" in widget.words()
    widget.limited = True
    dropped = int((~widget.routing().answered).sum())
    assert dropped > 0 and f"{dropped} questions found no room" in widget.words()
    one = widget.routing()
    shares = torch.tensor(widget.load()) / 2
    even = 8 * float((shares * one.probs[0].mean(dim=0)).sum())
    assert widget.balance[3 + 1] == pytest.approx(even, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ExpertRouting(GPT(TINY), TEXT, LETTERS), "must be a ModernGPT with experts"),
        (lambda: ExpertRouting(None, TEXT, LETTERS), "with experts.* got NoneType"),
        (lambda: ExpertRouting(model(), LETTERS, TEXT), r"order is ExpertRouting\(model, text"),
        (lambda: ExpertRouting(model(), "", LETTERS), "1 to 200 tokens.* got 0"),
        (lambda: ExpertRouting(model(), TEXT * 8, LETTERS), "got 216. Take a shorter text"),
        (lambda: ExpertRouting(model(), "x", LETTERS), "'x' at position 0"),
        (lambda: ExpertRouting(model(vocab_size=3), TEXT, LETTERS), "that it was trained with"),
        (lambda: ExpertRouting(model(), TEXT, LETTERS, skills=["a"]), "27 of them; got 1"),
        (lambda: ExpertRouting(model(), TEXT, LETTERS, skills=TEXT), "one label a token"),
        (lambda: ExpertRouting(model(), TEXT, LETTERS, capacity=-1), "capacity must be a number"),
        (lambda: ExpertRouting(model(), TEXT, LETTERS, layer=3), "layer must be below 3, not 3"),
        (lambda: ExpertRouting(model(), TEXT, LETTERS, expert=8), "expert must be below 8"),
        (lambda: ExpertRouting(model(), TEXT, LETTERS, token=27), "token must be below 27"),
        (
            lambda: ExpertRouting(model(capacity=None), TEXT, LETTERS, limited=True),
            "limited needs a capacity",
        ),
        (lambda: ExpertRouting(model(), TEXT, LETTERS, layers=1), "no setting 'layers'.* layer"),
    ],
)
def test_a_mistake_is_answered_in_words(make, said):
    with pytest.raises((ValueError, TraitError), match=said):
        make()


TINY = GPTConfig(vocab_size=7, context_length=8, n_layer=1, n_head=1, n_embd=8)
