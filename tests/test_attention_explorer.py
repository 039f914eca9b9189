"""The attention explorer: what the page computes of a text is what PyTorch does."""

from __future__ import annotations

import random

import pytest
import torch
from scripts import run_script
from test_page_model import CONFIGS, built, letters
from torch import nn

from gptlib import corpus
from gptlib.attention import AttentionModel, CausalSelfAttention, attention_weights
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets import AttentionExplorer

CLOSE = {"atol": 1e-4, "rtol": 0}
ASK = """
const { openReading, sumAndLengths } = await module("attending.js");
const { vocabulary, reading } = openReading(data, given.kind);
return given.tasks.map(({ text, layer, head, t, mask, divisor, most }) => {
  const ids = [...(vocabulary.end >= 0 ? [vocabulary.end] : []), ...vocabulary.encode(text)];
  while (!reading.read(ids, most)) { /* in pieces */ }
  const { scores, weights } = reading.row(layer, head, t, { mask, divisor });
  const parts = reading.parts(layer, head, weights);
  const { sum, lengths } = sumAndLengths(parts, reading.hs);
  const table = Array.from(reading.table(layer, head, { mask, divisor }), (w) => (w >= 0 ? w : 0));
  return { scores, weights, parts, sum, lengths, table, votes: reading.votes(layer, head, t, sum) };
});
"""


def one_layer(positions: bool = True, **sizes) -> AttentionModel:
    """A model of chapter 3 whose every weight counts."""
    torch.manual_seed(0)
    model = AttentionModel(**{"vocab_size": 40, "context_length": 24, "n_embd": 24, "n_head": 3,
                              **sizes}, positions=positions)  # fmt: skip
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


MODELS = {
    **{name: built(config) for name, config in CONFIGS.items()},
    "one layer": one_layer(),
    "one layer, no positions": one_layer(positions=False, n_head=1),
}


def letters_of(model: GPT | AttentionModel) -> CharTokenizer:
    size = model.config.vocab_size if isinstance(model, GPT) else model.vocab_size
    return CharTokenizer("".join(chr(65 + i) for i in range(size)))


def asked(model, tokenizer, rng: random.Random, n: int) -> list[dict]:
    """Questions about texts that change a little from one to the next, with every setting."""
    c = model.config if isinstance(model, GPT) else None
    layers, heads = (c.n_layer, c.n_head) if c else (1, model.attention.n_head)
    text, tasks = "", []
    for _ in range(n):
        text = text[: rng.randrange(len(text) + 1)]
        text = (text + "".join(rng.choices(tokenizer.chars, k=rng.randrange(1, 12))))[:24]
        tasks.append({
            "text": text, "layer": rng.randrange(layers), "head": rng.randrange(heads),
            "t": rng.randrange(len(text)), "mask": rng.random() < 0.6,
            "divisor": rng.choice([0, 0, 1, 2, 8]), "most": rng.choice([1, 5, 100]),
        })  # fmt: skip
    return tasks


@pytest.mark.parametrize("numbers", ["float32", "float16", "int8"])
@pytest.mark.parametrize("name", MODELS)
def test_the_page_has_the_numbers_of_the_face(name, numbers):
    """Scores, weights, parts, result, votes: with and without mask, any divisor, edited texts."""
    model = MODELS[name]
    tokenizer = letters_of(model)
    widget = AttentionExplorer(model, "A", tokenizer, numbers=numbers)
    tasks = asked(model, tokenizer, random.Random(name), 30)
    given = {"kind": widget.kinds[0], "tasks": tasks}
    for task, got in zip(tasks, run_script(ASK, given, widget.model_files[0]), strict=True):
        widget.text, widget.layer, widget.head = task["text"], task["layer"], task["head"]
        widget.query, widget.mask, widget.divisor = task["t"], task["mask"], task["divisor"]
        T = len(task["text"])
        wanted = {
            "scores": widget.scores(), "weights": widget.weights(), "parts": widget.parts(),
            "sum": widget.result(), "lengths": widget.parts().norm(dim=1),
            "table": widget.table(), "votes": widget.votes(),
        }  # fmt: skip
        assert wanted["table"].shape == (T, T) and len(wanted["weights"]) <= T
        for what, right in wanted.items():
            if right is None:
                assert got[what] is None and model.config.norm == "post"
                continue
            numbers_got = torch.tensor(got[what]).float().view_as(right)
            torch.testing.assert_close(
                numbers_got, right, msg=lambda m, w=what: f"{w}: {m}", **CLOSE
            )


# The face beside the model itself ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["biases, tied", "post-norm", "one layer"])
def test_the_face_says_what_the_layer_says(name):
    """Its weights are those of chapter 3's `weights`, its results those that the layer mixes."""
    model = MODELS[name]
    widget = AttentionExplorer(model, "ABCABBA", letters_of(model), numbers="float32", query=4)
    given: list[torch.Tensor] = []
    layers = [b.attention for b in model.blocks] if isinstance(model, GPT) else [model.attention]
    hooks = [layer.register_forward_pre_hook(lambda m, x: given.append(x[0])) for layer in layers]
    mixed: list[torch.Tensor] = []
    hooks += [layer.project.register_forward_pre_hook(lambda m, x: mixed.append(x[0]))
              for layer in layers]  # fmt: skip
    with torch.no_grad():
        model.eval()(torch.tensor([widget.ids()]))
    for hook in hooks:
        hook.remove()
    for i, layer in enumerate(layers):
        weights = layer.weights(given[i])[0].detach()  # (n_head, T, T)
        for head in range(layer.n_head):
            widget.layer, widget.head = i, head
            torch.testing.assert_close(widget.table(), weights[head], atol=1e-6, rtol=0)
            torch.testing.assert_close(widget.weights(), weights[head, 4, :5], atol=1e-6, rtol=0)
            size = len(widget.result())
            right = mixed[i][0, 4, head * size : (head + 1) * size]
            torch.testing.assert_close(widget.result(), right, atol=1e-5, rtol=0)


def test_the_votes_of_all_heads_and_the_rest_are_the_logits():
    """With one layer the votes, the biases and nothing else make the logits."""
    model = MODELS["one layer"]
    widget = AttentionExplorer(model, "ABCABBA", letters_of(model), numbers="float32")
    votes = torch.zeros(40)
    for widget.head in range(3):
        votes += widget.votes()
    with torch.no_grad():
        logits = model(torch.tensor([widget.ids()]))[0][0, -1] - model.head.bias
    torch.testing.assert_close(votes, logits - logits.mean(), atol=1e-4, rtol=0)


def test_the_votes_of_a_head_are_what_is_missed_without_it_in_the_last_block():
    """In the last block, past a feed-forward layer of zeros, with the norm's size kept."""
    model = built(CONFIGS["no biases"])
    model.blocks[-1].feed_forward.project.weight.data.zero_()
    widget = AttentionExplorer(
        model, "ABCABBA", letters_of(model), numbers="float32", layer=2, head=1
    )
    with torch.no_grad():
        x = torch.tensor([widget.ids()])
        h = model.token_embedding(x) + model.position_embedding.weight[: x.size(1)]
        for block in model.blocks[:-1]:
            h = block(h)
        whole = model.blocks[-1](h)[0, -1]
        mixed = torch.zeros(1, 24)
        mixed[0, 12:] = widget.result()
        without = whole - model.blocks[-1].attention.project(mixed)[0]
        size = (whole.var(correction=0) + 1e-5).sqrt()
        logits = [(v - v.mean()) / size * model.final_norm.weight @ model.head.weight.T
                  for v in (whole, without)]  # fmt: skip
    missed = logits[0] - logits[1]
    torch.testing.assert_close(widget.votes(), missed - missed.mean(), atol=1e-4, rtol=0)


def test_without_the_mask_a_query_looks_ahead_and_the_layers_below_do_not():
    model = MODELS["biases, tied"]
    widget = AttentionExplorer(model, "ABCABBA", letters_of(model), layer=1, query=2, mask=False)
    assert len(widget.weights()) == 7 and widget.weights()[3:].sum() > 0
    q, k, _ = widget._heads()
    torch.testing.assert_close(widget.table(), attention_weights(q, k), atol=1e-6, rtol=0)
    given = widget._stream()[1]
    widget.mask = True
    assert torch.equal(given, widget._stream()[1])
    widget.text = "ABCZZZZ"  # the future is another one
    assert torch.allclose(given[:3], widget._stream()[1][:3], atol=1e-6)


def test_a_smaller_divisor_saturates_and_a_larger_one_levels():
    model = MODELS["one layer"]
    widget = AttentionExplorer(model, "ABCABBACDE", letters_of(model))
    largest = []
    for widget.divisor in (0.01, 1.0, 0.0, 1000.0):  # 0 is √8
        largest.append(widget.weights().max().item())
    assert largest == sorted(largest, reverse=True)
    assert largest[0] > 0.99 and largest[-1] == pytest.approx(0.1, abs=0.01)


# What the chapters say ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kite() -> AttentionExplorer:
    """The widget of chapter 6: the book's model on the story of the kite, cut before a colour."""
    tokenizer = BPETokenizer.train(
        corpus.load("stories", n=3000), 1536, special_tokens=[corpus.END]
    )
    torch.manual_seed(0)
    untrained, book = (GPT(GPTConfig.preset("stories")) for _ in range(2))
    load_recorded(book, "stories")
    story = next(s.text for s in corpus.stories(300, seed=1) if "purple kite" in s.text)
    models = {"before training": untrained, "after training": book}
    text = story[: story.rindex(" purple kite")]
    return AttentionExplorer(models, text, tokenizer, shown=1, numbers="int8")


def taken(widget: AttentionExplorer, word: str) -> torch.Tensor:
    """What each head's picked query takes from all copies of a token: (n_layer, n_head)."""
    (token,) = widget._tokenizer.encode(word)
    found = torch.zeros(4, 4)
    for widget.layer in range(4):
        for widget.head in range(4):
            copies = torch.tensor(widget.ids()[: widget._seen]) == token
            found[widget.layer, widget.head] = widget.weights()[copies].sum()
    return found


def test_chapter_6_s_heads_take_what_the_text_says(kite):
    purple = taken(kite, " purple")
    assert purple[1, 2] > 0.99 and purple.flatten().topk(2).values[1] < 0.1
    kite.layer, kite.head = 1, 2
    assert kite.weights().max() == pytest.approx(0.99, abs=0.006)  # of one copy alone
    kite.shown = 0
    assert taken(kite, " purple").max() < 0.05
    kite.shown, kite.query = 1, kite.ids().index(*kite._tokenizer.encode("First"))
    assert taken(kite, " sugar").argmax() == 8 and taken(kite, " sugar").max() > 0.8
    kite.query = kite.ids().index(*kite._tokenizer.encode(" said"))
    assert [i for i, w in enumerate(taken(kite, " Milo").flatten()) if w > 0.5] == [12, 13]
    kite.query, kite.text = -1, kite.text.replace("long legs", "red hair")
    assert taken(kite, " red")[1, 2] == pytest.approx(0.06, abs=0.006)
    assert taken(kite, " purple")[1, 2] == pytest.approx(0.93, abs=0.006)
    swapped = kite.text.replace("red hair", "purple hair").replace("purple kite", "red kite")
    kite.query, kite.text = -1, swapped
    assert taken(kite, " red")[1, 2] == pytest.approx(0.60, abs=0.006)
    assert taken(kite, " purple")[1, 2] == pytest.approx(0.40, abs=0.006)


# What it is given --------------------------------------------------------------------------------


def test_end_stands_in_front_and_a_long_text_is_cut():
    tokenizer = BPETokenizer.train("low lower lowest", 258, ["<s>"])
    model = AttentionModel(258, 6, 8, 2)
    widget = AttentionExplorer(model, "low low low low low low", tokenizer)
    assert widget.ids()[0] == 257 and len(widget.ids()) == 6
    assert "token 5" in widget.words()


def test_an_empty_text_is_shown_as_one():
    model = MODELS["one layer"]
    widget = AttentionExplorer(model, "", letters_of(model))
    data, _ = widget._repr_mimebundle_()
    assert "no text yet" in data["text/plain"]


def test_several_models_stand_side_by_side():
    models = {"before": one_layer(), "after": built(CONFIGS["no biases"])}
    tokenizer = CharTokenizer("".join(chr(65 + i) for i in range(40)))
    widget = AttentionExplorer(models, "ABC", tokenizer, shown=1, layer=2)
    assert widget.names == ["before", "after"] and widget.kinds == ["attention", "gpt"]
    after = widget.table()
    widget.shown = 0  # one layer: the third is the first
    assert not torch.allclose(after, widget.table()) and "before" in widget.words()


class NotItself(CausalSelfAttention):
    def forward(self, x):
        return super().forward(x.roll(1, dims=1))


def test_what_the_page_could_not_show_is_refused():
    model = MODELS["one layer"]
    tokenizer = letters_of(model)
    with pytest.raises(ValueError, match="model must be a GPT; got Linear"):
        AttentionExplorer(nn.Linear(2, 2), "A", tokenizer)
    other = one_layer()
    other.attention = NotItself(24, 3, 24)
    with pytest.raises(ValueError, match="computes something else than gptlib's AttentionModel"):
        AttentionExplorer(other, "A", tokenizer)
    other.attention = CausalSelfAttention(24, 3, 24, bias=True)
    with pytest.raises(ValueError, match="as chapter 3 builds it; see attention"):
        AttentionExplorer(other, "A", tokenizer)
    with pytest.raises(ValueError, match="text holds"):
        AttentionExplorer(model, "é", tokenizer)
    with pytest.raises(ValueError, match="has 40 tokens; the model knows 30"):
        AttentionExplorer(one_layer(vocab_size=30), "A", tokenizer)
    broken = one_layer()
    broken.head.weight.data[0] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        AttentionExplorer(broken, "A", tokenizer)


def test_a_model_of_a_notebook_is_as_good():
    """Classes of the same names and parts, defined elsewhere; training mode is left as it was."""

    class Own(AttentionModel):
        pass

    torch.manual_seed(0)
    model = Own(40, 24, 24, 3).train()
    widget = AttentionExplorer(model, "ABC", letters_of(model))
    assert model.training and widget.kinds == ["attention"]
    torch.manual_seed(0)
    own = GPT(GPTConfig(40, 24, 2, 2, 8, dropout=0.5)).train()
    widget = AttentionExplorer(own, "ABC", letters_of(own))
    assert own.training and widget.kinds == ["gpt"]
    assert letters(own.config).chars == letters_of(own).chars


def test_the_largest_come_in_order():
    rng = random.Random(1)
    tasks = [[[rng.randrange(9) for _ in range(rng.randrange(1, 30))], 5] for _ in range(200)]
    code = """
        const { largestOf } = await module("attending.js");
        return given.map(([numbers, n]) => largestOf(numbers, n));
    """
    for (numbers, n), got in zip(tasks, run_script(code, tasks), strict=True):
        assert got == sorted(range(len(numbers)), key=lambda i: (-numbers[i], i))[:n]
