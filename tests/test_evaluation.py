"""What a run writes and how it is measured: known answers, a model whose losses are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from gptlib.corpus import END
from gptlib.engine import evaluation
from gptlib.engine.describe import describe
from gptlib.engine.evaluation import evaluate, table
from gptlib.engine.export import export
from gptlib.engine.learn import learn
from gptlib.engine.measures import distinct, losses, novelty, repetition
from gptlib.engine.prepare import prepare
from gptlib.engine.prepared import Prepared
from gptlib.engine.writer import Wish, Writer
from gptlib.loss import next_token_loss
from gptlib.tokenizer import CharTokenizer

TINY = {
    "context_length": 16, "n_layer": 1, "n_head": 2, "n_embd": 8, "batch_size": 2, "steps": 2,
    "eval_every": 2, "eval_batches": 1, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A prepared text of each kind, and a run on it."""
    folder = tmp_path_factory.mktemp("room")
    (folder / "a.txt").write_text("the cat sat on the mat\n" * 40 + "é", encoding="utf-8")
    prepare([folder / "a.txt"], folder / "text")
    learn(folder / "text", folder / "run", log=lambda line: None, **TINY)
    prepare(["stories"], folder / "tales", tokenizer="bpe", vocab_size=300, stories=20)
    learn(folder / "tales", folder / "told", log=lambda line: None, **TINY)
    return folder


# Measures ----------------------------------------------------------------------------------------


class Uniform(nn.Module):
    """Finds every token equally likely, whatever came before."""

    def __init__(self, vocab_size, context_length):
        super().__init__()
        self.vocab_size, self.context_length = vocab_size, context_length
        self.zeros = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, idx, targets=None):
        logits = self.zeros.expand(*idx.shape, -1)
        return logits, None if targets is None else next_token_loss(logits, targets)


@pytest.mark.parametrize("context", [3, 7, 100])
def test_a_uniform_model_costs_the_logarithm_of_the_vocabulary(context):
    tokenizer = CharTokenizer("abcé")
    ids = np.array(tokenizer.encode("abécabéé"), dtype=np.uint16)
    found = losses(Uniform(4, context), ids, tokenizer)
    assert found["tokens"] == 7 and found["bytes"] == 10  # all but the first; é has two
    assert found["loss"] == pytest.approx(math.log(4))
    assert found["bits_per_byte"] == pytest.approx(7 * 2 / 10)
    assert losses(Uniform(4, 3), ids, tokenizer, most=1)["tokens"] == 3


def test_bits_per_byte_do_not_depend_on_the_tokenizer(tmp_path):
    """Where each token costs as much as its bytes do, both say eight bits a byte."""
    from gptlib.tokenizer import BPETokenizer

    text = "abab" * 5
    ids = np.array(BPETokenizer([(97, 98)]).encode(text))
    pairs = losses(Uniform(257, 8), ids, BPETokenizer([(97, 98)]))
    assert pairs["bits_per_byte"] == pytest.approx(math.log2(257) / 2)


def test_counts_of_runs():
    assert repetition([[1, 2, 3, 4, 5]], 4) == 0 and repetition([[1] * 8], 4) == 0.8
    assert distinct([[1, 2, 3], [1, 2, 4]], 2) == 0.75 and distinct([], 1) == 0
    assert repetition([[1]], 4) == 0  # no run of four


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_novelty_is_that_of_sets(monkeypatch, piece):
    monkeypatch.setattr("gptlib.engine.measures.PIECE", piece)
    rng = np.random.default_rng(0)
    train = rng.integers(0, 4, 200).astype(np.uint16)
    texts = [rng.integers(0, 4, 30).tolist(), train[50:60].tolist()]
    known = {tuple(train[i : i + 4].tolist()) for i in range(197)}
    mine = {tuple(t[i : i + 4]) for t in texts for i in range(len(t) - 3)}
    assert novelty(texts, train, 4) == pytest.approx(1 - len(mine & known) / len(mine))
    assert novelty([train[5:20].tolist()], train, 8) == 0.0
    assert novelty([[1, 2]], train, 8) is None


# Writing -----------------------------------------------------------------------------------------


def test_three_lines_write_a_text(room):
    writer = Writer(room / "run")
    assert writer.tokens == 0
    text = writer.text("the", 20, seed=1)
    assert text.startswith("the") and len(text) == 23 and writer.tokens == 20
    assert text == writer.text("the", 20, seed=1) != writer.text("the", 20, seed=2)


def test_without_sampling_it_is_greedy_and_a_large_top_k_means_all(room):
    writer = Writer(room / "run", "last")
    greedy = ["".join(writer.stream("the", Wish(9, sampling=False, seed=s))) for s in (1, 2)]
    assert greedy[0] == greedy[1]
    assert "".join(writer.stream("the", Wish(9, top_k=100, seed=1))) == "".join(
        writer.stream("the", Wish(9, top_k=None, seed=1))
    )


def test_nothing_begins_a_line_or_a_document(room):
    assert Writer(room / "run").start("") == CharTokenizer("\n aceh mnost é").encode("\n")
    writer = Writer(room / "told")
    assert writer.start("") == [writer.end] and writer.tokenizer.decode([writer.end]) == END
    with pytest.raises(ValueError, match="none of the"):
        Writer(room / "run").start("XYZ")
    for letters, first in (("\t\nab", 1), ("cab", 0)):  # a line begins with "\n", where it is known
        writer.tokenizer, writer.end = CharTokenizer(letters), None
        assert writer.start("") == [first]


def test_the_end_of_a_document_ends_the_text_and_is_not_shown(room):
    writer = Writer(room / "told")
    with torch.no_grad():
        writer.model.final_norm.weight.zero_()
        writer.model.final_norm.bias.copy_(writer.model.head.weight[writer.end])
        writer.model.head.weight[writer.end] *= 1000
    assert writer.text("Once", 9, sampling=False) == "Once" and writer.tokens == 1


# The whole evaluation ----------------------------------------------------------------------------


def test_a_text_is_measured(room):
    found = evaluate(room / "run", room / "text", samples=3, length=12, device="cpu")
    assert found["validation"]["tokens"] == len("the cat sat on the mat\n" * 40) // 10 - 0
    assert 0 <= found["samples"]["novel_8"] <= 1 and "stories" not in found
    assert json.loads(json.dumps(found)) == found
    text = table(found)
    for word in ("bits per byte", "repetition", "novelty", "of one, two, three", "The first text:"):
        assert word in text
    again = evaluate(room / "run", room / "text", samples=3, length=12, device="cpu")
    assert again == found


def test_stories_are_read_by_the_parser_and_scored_where_they_fit(room, monkeypatch):
    found = evaluate(room / "told", room / "tales", samples=2, length=12, most=2, device="cpu")
    told = found["stories"]
    assert told["well_formed"] == 0 and "context_length is 16" in told["no_score"]
    assert "well formed" in table(found)

    from gptlib.engine.prepared import Prepared

    text = Prepared.open(room / "tales")
    story = text.tokenizer.decode(text.train.tolist()).split(END)[0]
    ids = text.tokenizer.encode(story)
    monkeypatch.setattr(evaluation, "_write", lambda *a, **k: [ids, ids[:5]])
    told = evaluate(room / "told", room / "tales", most=2, device="cpu")["stories"]
    assert told["well_formed"] == 0.5 and told["new"] == 0  # it stands in the training text


def test_a_model_that_sees_a_whole_story_is_compared_with_the_floor(room):
    prepare(["stories"], room / "more", tokenizer=room / "tales" / "tokenizer.json", stories=60)
    far = TINY | {"context_length": 450}
    run = learn(room / "more", room / "far", log=lambda line: None, **far)
    found = evaluate(run, room / "more", samples=2, length=12, most=1, device="cpu")
    told = found["stories"]
    assert "no_score" not in told and told["loss"] > told["floor"] > 0.1
    assert told["above_floor"] == pytest.approx(told["loss"] / told["floor"] - 1)
    assert "copy" in " ".join(told["skills"]) or len(told["skills"]) > 3
    text = table(found)
    assert f"above the floor  {told['above_floor']:.1%} ({told['loss']:.4f}, floor " in text
    (rule, n), *_ = told["broken"].items()
    assert f"broken rule      {rule}: {n}" in text


def test_a_text_of_another_tokenizer_is_refused(room):
    with pytest.raises(ValueError, match="has another tokenizer than"):
        evaluate(room / "run", room / "tales")
    with pytest.raises(ValueError, match="samples and length must be 1 or more"):
        evaluate(room / "run", room / "text", samples=0)


def test_everything_can_say_what_it_is(room, tmp_path):
    assert describe(room / "text")["is"] == "a prepared text (gptlib text 1)"
    assert describe(room / "text")["sources"] == str(room / "a.txt")
    about = Prepared.open(room / "text").about
    told = ("tokenizer", "vocab_size", "dtype", "split")
    assert {name: describe(room / "text")[name] for name in told} == {n: about[n] for n in told}
    run = describe(room / "run")
    assert run["is"] == "a run" and run["checkpoints"] == "2" and run["best"] == 2
    checkpoint = describe(room / "run" / "checkpoints" / "00000002")
    assert checkpoint["is"] == "a checkpoint" and checkpoint["step"] == 2
    assert checkpoint["parameters"] == run["parameters"]
    export(room / "run", tmp_path / "out")
    assert describe(tmp_path / "out")["model"] == "gpt2"
    with pytest.raises(FileNotFoundError, match="There is nothing at"):
        describe(tmp_path / "none")
    with pytest.raises(ValueError, match="is no prepared text, no run"):
        describe(tmp_path)
