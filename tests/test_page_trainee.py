"""A run in the page: the stories it learns from, its exam, its file, its worker's messages."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import asdict, replace
from random import Random

import pytest
import torch
import traitlets
from bookmodel import book
from scripts import node, run_script

from gptlib import corpus
from gptlib.corpus.scoring import AnswerKey
from gptlib.given.records import record
from gptlib.gpt import GPT, GPTConfig
from gptlib.recipe import TrainConfig, learning_rate
from gptlib.tokenizer import BPETokenizer
from gptlib.widgets import LiveTraining
from gptlib.widgets.live_training import MISTAKES
from gptlib.widgets.model_file import import_model, model_bytes
from gptlib.widgets.story_key import answer_key

SMALL = GPTConfig.preset("stories", n_layer=1, n_embd=16)
RECIPE = TrainConfig(steps=30, batch_size=2, lr=4e-3, weight_decay=0.01)
OPEN = """
const { Trainee } = await module("trainee.js");
const { pythonRandom } = await module("grammar.js");
const { Lessons } = await module("lessons.js");
"""


def given(config: GPTConfig = SMALL, recipe: TrainConfig = RECIPE, **more) -> dict:
    """What the page hands to a trainee."""
    return {
        "config": asdict(config), "recipe": asdict(recipe), "tokenizer": book()[1]._json(),
        "key": answer_key(), "seed": 0, "exam": 4, **more,
    }  # fmt: skip


def test_the_stories_it_learns_from_are_those_of_python():
    """Story by story, with Python's random numbers; each window begins with a story."""
    code = OPEN + """
        const trainee = new Trainee(given);
        const { key, vocabulary } = trainee;
        const lessons = new Lessons(key, vocabulary, trainee.sizes(), pythonRandom(5));
        const copy = ({ idx, targets }) => [idx.slice(), targets.slice()];
        const batches = [copy(lessons.next()), copy(lessons.next())];
        return [...batches, copy(lessons.next({ shifted: false }))];
    """  # fmt: skip
    tokenizer, rng = book()[1], Random(5)
    end = tokenizer.special_tokens[corpus.END]

    def row() -> list[int]:
        ids = [end]
        while len(ids) <= 128:
            ids += [*tokenizer.encode(corpus.GRAMMAR.write(rng)[0]), end]
        return ids

    for i, (idx, targets) in enumerate(run_script(code, given())):
        rows = [row(), row()]
        assert idx == rows[0][:128] + rows[1][:128]
        assert targets == (idx if i == 2 else rows[0][1:129] + rows[1][1:129])


def test_its_exam_is_the_answer_key():
    """The book's trained model: the floor, the loss and every skill as Python has them."""
    model, tokenizer = book()
    code = OPEN + """
        const { readModel } = await module("model_file.js");
        const trainee = new Trainee(given);
        const weights = Object.entries(readModel(data).weights);
        for (const [name, w] of weights) trainee.room.weights[name].set(w);
        return trainee.exam();
    """  # fmt: skip
    asked = given(model.config, TrainConfig.preset("stories"), exam=20)
    found = run_script(code, asked, model_bytes(model, tokenizer, "float32"))
    key = AnswerKey(corpus.stories(20, seed=1), tokenizer)
    wanted = key.score(model)
    assert found["floor"] == pytest.approx(key.floor, rel=1e-9)
    assert found["loss"] == pytest.approx(wanted.loss, rel=1e-4)
    assert {skill: of for skill, (_, of) in found["skills"].items()} == {
        skill: len(places) for skill, places in key.places.items()
    }
    for skill, (right, of) in found["skills"].items():
        assert right == round(wanted.skills[skill] * of), skill


def test_a_file_of_the_page_is_opened_by_python(tmp_path):
    """After two steps: the same configuration, tokenizer and weights, to the last bit."""
    code = OPEN + """
        const trainee = new Trainee(given);
        trainee.step(); trainee.step();
        return [trainee.file(), trainee.room.weights];
    """  # fmt: skip
    data, weights = run_script(code, given(replace(SMALL, bias=True)))
    path = tmp_path / "mine.gpt.safetensors"
    path.write_bytes(bytes(data))
    model, tokenizer = import_model(path)
    assert model.config == replace(SMALL, bias=True)
    assert tokenizer.encode("Tom was a") == book()[1].encode("Tom was a")
    for name, p in model.named_parameters():
        assert torch.equal(torch.tensor(weights[name]).float().view_as(p), p), name


def test_it_learns_and_reset_begins_again():
    code = OPEN + """
        const trainee = new Trainee(given);
        const run = (n) => Array.from({ length: n }, () => trainee.step());
        const first = run(given.recipe.steps), exam = trainee.exam();
        trainee.reset();
        const again = run(3);
        trainee.reset(1);
        return [first, exam, again, run(1), trainee.write()];
    """  # fmt: skip
    first, exam, again, other, story = run_script(code, given(recipe=replace(RECIPE, lr=0.02)))
    losses = [point["loss"] for point in first]
    assert losses[0] == pytest.approx(7.34, abs=0.1) and losses[-1] < 6 and exam["loss"] < 6
    assert [point["loss"] for point in again] == losses[:3] and other[0]["loss"] != losses[0]
    assert all(0 < point["table"] < 1 and 0 < point["blocks"] < 1 for point in first)
    assert story["says"] and not story["ok"] and len(story["tokens"]) <= 127


def test_a_story_without_a_word_is_none():
    """END at once, as the highest draw has it in a model that knows nothing."""
    code = (
        OPEN
        + """
        const trainee = new Trainee(given);
        trainee.random = () => 1 - 1e-9;
        return [trainee.write(), trainee.told, trainee.vocabulary.end];
    """
    )
    story, ids, end = run_script(code, given())
    assert ids == [end] and story["ok"] is False and story["says"] == "a story has words"


def test_a_run_that_goes_on_begins_a_shorter_schedule():
    """A third of the steps, and again: the rate climbs and falls, and the exam falls with it."""
    code = OPEN + """
        const trainee = new Trainee(given), exams = [];
        const points = [30, 10, 10].flatMap((n) => {
          const made = Array.from({ length: n }, () => trainee.step());
          exams.push(trainee.exam().loss);
          return made;
        });
        const { end } = trainee;
        trainee.reset();
        return [points.map(({ lr }) => lr), exams, end, trainee.end, trainee.step().lr];
    """  # fmt: skip
    recipe = replace(RECIPE, lr=0.02, min_lr_ratio=0.0, warmup_steps=6)
    rates, exams, end, again, first = run_script(code, given(recipe=recipe))
    later = replace(recipe, steps=10, warmup_steps=None)
    wanted = [learning_rate(step, recipe) for step in range(1, 31)]
    wanted += 2 * [learning_rate(step, later) for step in range(1, 11)]
    assert rates == pytest.approx(wanted)
    assert end == 50 and again == 30 and first == rates[0]
    assert exams[0] > exams[1] + 0.05 and exams[1] > exams[2] + 0.05


# What the gauges of a short run say: first and last points, well and ill, of one seed.
SHOWS = {
    "mask": lambda well, ill: ill[1]["loss"] != well[1]["loss"],
    # it has to copy, and the exam does not ask for copies
    "shift": lambda well, ill: ill[1]["loss"] < well[1]["loss"] - 0.3 and ill[2] > well[2] + 1,
    "zero_grad": lambda well, ill: ill[1]["grad_norm"] > 2 * well[1]["grad_norm"],
    "clip": lambda well, ill: ill[1]["loss"] != well[1]["loss"],
    "warmup": lambda well, ill: ill[0]["lr"] > 2.9 * well[0]["lr"],
    "one_batch": lambda well, ill: ill[1]["loss"] < well[1]["loss"] - 0.3,  # it knows it by heart
    "sorted": lambda well, ill: ill[1]["loss"] != well[1]["loss"],  # and more in a test of its own
    "validation_leak": lambda well, ill: ill[2] < well[2] - 0.3,  # the exam is all that it knows
    "garbage": lambda well, ill: ill[1]["loss"] > well[1]["loss"] + 0.3,
    "softmax_twice": lambda well, ill: ill[1]["loss"] > well[1]["loss"] + 1,
    "reshape": lambda well, ill: ill[1]["loss"] != well[1]["loss"],
    "frozen": lambda well, ill: ill[1]["blocks"] == 0 < ill[1]["table"],
    "lost": lambda well, ill: ill[1]["table"] == 0 == ill[1]["blocks"],
    "big_start": lambda well, ill: ill[0]["loss"] > well[0]["loss"] + 1,
}


@pytest.mark.parametrize("muon", [None, 0.02], ids=["AdamW", "Muon"])
def test_every_mistake_shows(muon):
    """In the gauge where it should, and in the exam; `garbage` comes at the last step here."""
    assert list(SHOWS) == list(MISTAKES)
    code = OPEN + """
        const { MISTAKES } = await module("trainee.js");
        given.recipe.muon = given.muon;
        const ends = (mistake) => {
          const trainee = new Trainee({ ...given, mistakes: [mistake] });
          const steps = Array.from({ length: 50 }, () => trainee.step());
          return [steps[0], steps.at(-1), trainee.exam().loss];
        };
        return [Object.keys(MISTAKES), ends("none"), given.all.map(ends)];
    """  # fmt: skip
    asked = given(recipe=replace(RECIPE, steps=50, lr=0.01), muon=muon, all=list(MISTAKES))
    known, well, ills = run_script(code, asked)
    assert known == list(MISTAKES)
    for (mistake, shows), ill in zip(SHOWS.items(), ills, strict=True):
        assert shows(well, ill), (mistake, well, ill)
        assert ill[2] != well[2], mistake


def test_stories_in_order_follow_the_alphabet_and_begin_again():
    """Each once, then from A; the leak's are the exam's, and none else."""
    code = (
        OPEN
        + """
        const trainee = new Trainee(given), { lessons, sheets } = trainee;
        const told = (n, how) => Array.from({ length: n }, () => lessons.story(how));
        const ordered = told(5000, { sorted: true }), again = told(2, { sorted: true });
        return [ordered, again, sheets.texts, told(90, { leaked: sheets.texts })];
    """
    )
    ordered, again, exam, leaked = run_script(code, given())
    assert ordered == sorted(ordered) and len(set(ordered)) > 4990 and again == ordered[:2]
    assert exam == [story.text for story in corpus.stories(4, seed=1)]
    assert set(leaked) == set(exam)


def test_stories_in_order_are_learned_worse():
    """Two seeds by Muon: more loss in the exam, and longer gradients; one seed's luck is less."""
    code = OPEN + """
        given.recipe.muon = 0.02;
        const ends = (mistake, seed) => {
          const trainee = new Trainee({ ...given, seed, mistakes: [mistake] });
          const steps = Array.from({ length: 100 }, () => trainee.step().grad_norm);
          return [trainee.exam().loss, steps.slice(-20).reduce((sum, norm) => sum + norm) / 20];
        };
        return [0, 1].map((seed) => [ends("none", seed), ends("sorted", seed)]);
    """  # fmt: skip
    for well, ill in run_script(code, given(recipe=replace(RECIPE, steps=100, lr=0.02), exam=20)):
        assert ill[0] > well[0] + 0.1 and ill[1] > 1.1 * well[1]


def test_attention_is_that_of_the_story_just_written():
    """Python's weights for these tokens, under the mask whatever the training is like."""
    code = OPEN + """
        const trainee = new Trainee({ ...given, mistakes: ["mask"] });
        for (let i = 0; i < 20; i++) trainee.step();
        const story = trainee.write(), { told, vocabulary } = trainee;
        return [trainee.attention(0, 1), [vocabulary.end, ...told], trainee.room.weights];
    """  # fmt: skip
    config = replace(SMALL, n_head=2)
    seen, ids, weights = run_script(code, given(config))
    size = seen["size"]
    assert size == min(128, len(ids)) and seen["tokens"][0] == "END" and seen["head"] == 1
    assert seen["tokens"][1] == book()[1].decode(ids[1:2])
    model = GPT(config)
    for name, p in model.named_parameters():
        p.data = torch.tensor(weights[name]).float().view_as(p)
    block = model.blocks[0]
    x = model.token_embedding(torch.tensor([ids[:size]])) + model.position_embedding.weight[:size]
    wanted = block.attention.weights(block.norm_1(x))[0, 1]
    looks = torch.tensor(seen["weights"]).float().view(size, size)
    torch.testing.assert_close(looks, wanted, atol=1e-4, rtol=0)


def test_a_file_of_the_page_is_opened_by_the_playground():
    """By the scripts that LiveGPT runs: its logits are those of the model in training."""
    code = OPEN + """
        const { readModel } = await module("model_file.js");
        const { GPT } = await module("gpt.js");
        const { gpt_forward } = await module("by_hand_gpt.js");
        const trainee = new Trainee(given);
        trainee.step(); trainee.step();
        const { config, weights, tokenizer } = readModel(trainee.file());
        const idx = new Int32Array(256).fill(7);
        const here = gpt_forward(idx, trainee.room).slice(0, 1536);
        return [here, new GPT(config, weights).forward([7]), tokenizer];
    """  # fmt: skip
    here, there, tokenizer = run_script(code, given())
    assert there == pytest.approx(here, abs=1e-4)
    assert tokenizer == json.loads(book()[1]._json())


# The worker --------------------------------------------------------------------------------------


SERVE = """
const { serve } = await module("training_worker.js");
const said = [], waiting = [];
const receive = serve((m) => said.push(m), (work) => waiting.push(work), { examEvery: 10, storyEvery: 1e9 });
const turn = (n) => { for (let k = 0; k < n && waiting.length; k++) waiting.shift()(); };
const kinds = () => said.splice(0).map((m) => m.is);
const { begin, ...first } = { begin: { do: "begin", ...given } };
"""  # noqa: E501


def test_the_worker_starts_pauses_steps_and_goes_on():
    code = (
        SERVE
        + """
        const steps = () => said.flatMap((m) => m.points ?? []).map((point) => point.step);
        receive(begin);
        const ready = said[0], opened = kinds();
        receive({ do: "start" }); receive({ do: "start" });
        turn(6); receive({ do: "pause" });
        const ran = steps(), asleep = said.at(-1).running;
        turn(5); // what was waiting comes to nothing
        const still = steps().length === ran.length && waiting.length === 0;
        said.length = 0;
        receive({ do: "step" });
        const one = steps();
        said.length = 0;
        receive({ do: "start" }); turn(100);
        const ended = [steps().at(-1), kinds().slice(-3), waiting.length];
        receive({ do: "start" }); turn(100);
        const later = [steps().at(-1), kinds().slice(-3), waiting.length];
        return [ready, opened, ran, asleep, still, one, later, ...ended];
    """
    )
    answer = run_script(code, given())
    ready, opened, ran, asleep, still, one, later, last, ending, left = answer
    assert ready["parameters"] == 1536 * 16 + 128 * 16 + 12 * 16 * 16 + 3 * 16
    assert ready["simd"] and ready["bytes"] < 20e6
    assert opened == ["ready", "exam", "story"]
    assert ran == list(range(1, len(ran) + 1)) and len(ran) >= 6 and asleep is False and still
    assert one == [len(ran) + 1]
    assert last == 30 and "running" in ending and left == 0  # the recipe's steps are over
    assert later[0] == 40 and "running" in later[1] and later[2] == 0  # and so is a third more


def test_the_worker_changes_the_rate_breaks_and_sends_the_weights():
    code = (
        SERVE
        + """
        receive(begin);
        said.length = 0;
        receive({ do: "rate", factor: 0.5 }); receive({ do: "step" });
        receive({ do: "break", name: "zero_grad", on: true }); receive({ do: "step" });
        receive({ do: "break", name: "zero_grad", on: false }); receive({ do: "step" });
        const points = said.flatMap((m) => m.points ?? []);
        receive({ do: "weights" });
        const file = said.at(-1);
        receive({ do: "reset", seed: 3 }); receive({ do: "step" });
        const again = said.at(-1).points;
        receive({ do: "sing" });
        receive({ do: "begin", ...given, config: { ...given.config, norm: "post" } });
        const failed = said.filter((m) => m.is === "failed").map((m) => m.message);
        return [points, file.file.byteLength, file.step, again, failed];
    """
    )
    points, size, step, again, failed = run_script(code, given())
    assert [point["step"] for point in points] == [1, 2, 3] and step == 3 and size > 100_000
    assert points[0]["lr"] == pytest.approx(0.5 * 4e-3 / 3)
    assert points[1]["grad_norm"] > 1.5 * points[2]["grad_norm"]
    assert [point["step"] for point in again] == [1]
    assert "sing" in failed[0] and "pre" in failed[1]


def test_a_run_that_blows_up_stops_and_says_so():
    code = (
        SERVE
        + """
        receive(begin);
        receive({ do: "rate", factor: 1e30 }); receive({ do: "start" }); turn(100);
        return [said.filter((m) => m.is === "failed").map((m) => m.message), waiting.length];
    """
    )
    messages, waiting = run_script(code, given())
    assert len(messages) == 1 and "no longer a number" in messages[0] and waiting == 0


# The face ----------------------------------------------------------------------------------------


def test_the_face_sends_what_a_trainee_needs(tmp_path):
    """What a page has of it is enough; its worker's code stands for itself and exports nothing."""
    tokenizer = book()[1]
    face = LiveTraining(tokenizer, exam=5, seed=2)
    assert face.choices[1]["config"] == asdict(GPTConfig.preset("stories"))
    assert face.choices[1]["recipe"] == asdict(TrainConfig.preset("stories")) | {
        "muon": None,
        "hold": None,
    }
    told = corpus.stories(5, seed=1)
    assert face.floor == pytest.approx(corpus.floor(told, tokenizer).nats_per_token)
    assert json.loads(face.key_data) == json.loads(json.dumps(answer_key()))
    assert face.tokenizer == tokenizer._json() and face.seed == 2
    assert "export" not in re.findall(r"^\w+", face.worker, flags=re.M)
    (tmp_path / "worker.mjs").write_text(face.worker + "\nconsole.log(typeof serve);")
    answer = subprocess.run([node(), tmp_path / "worker.mjs"], capture_output=True, text=True)
    assert (answer.stdout.strip(), answer.stderr) == ("function", "")


def test_the_band_lies_as_far_above_the_floor_as_the_recorded_runs():
    seeds = record("seeds")
    face = LiveTraining(book()[1], exam=5, choice=1)
    band = face.chosen["band"]
    ends = [run["loss"][-1] for seed, run in seeds["seeds"].items() if int(seed) < 10]
    assert band["step"] == seeds["seeds"]["0"]["step"]
    for edge, one in (("low", min(ends)), ("high", max(ends))):
        assert band[edge][-1] - face.floor == pytest.approx(one - seeds["floor"])
    words = face.words()
    assert "303,680 parameters, 3,100 steps" in words and f"{face.floor:.3f}" in words
    assert f"between {band['low'][-1]:.2f} and {band['high'][-1]:.2f} nats" in words
    (ax,) = face.draw().axes
    assert len(ax.collections) == 1 and ax.get_ylim()[0] == pytest.approx(0.9 * face.floor)
    other = LiveTraining(book()[1], SMALL, RECIPE, exam=5)
    assert other.chosen["band"] == {} and "Recorded" not in other.words()
    assert len(other.choices) == 1
    assert not other.draw().axes[0].collections


def test_every_choice_trains_and_has_the_parameters_that_it_says():
    """Each from its own first step on: the loss falls, the exam and the stories work."""
    face = LiveTraining(book()[1], exam=4)
    names = [one["name"] for one in face.choices]
    assert names[0] == "the book's GPT, quick recipe" and len(names) == 4
    shapes = [(one["config"]["n_layer"], one["config"]["n_head"]) for one in face.choices]
    assert shapes == [(4, 4), (4, 4), (1, 1), (0, 1)]
    quick, books = (one["recipe"] for one in face.choices[:2])
    assert quick["weight_decay"] == books["weight_decay"] and quick["min_lr_ratio"] == 0
    assert quick["steps"] * quick["batch_size"] * 128 == 1_433_600  # tokens
    code = (
        OPEN
        + """
        return given.choices.map(({ config, recipe }) => {
          const trainee = new Trainee({ ...given, config, recipe: { ...recipe, batch_size: 2 } });
          const losses = Array.from({ length: 12 }, () => trainee.step().loss);
          return [trainee.room.flat.weights.length, losses, trainee.exam().loss,
            trainee.write().tokens.length, trainee.matrices.length,
            new Trainee({ ...given, config, recipe }).room.bytes];
        });
    """
    )
    found = run_script(code, given() | {"choices": face.choices})
    for choice, told in zip(face.choices, found, strict=True):
        count, losses, exam, written, matrices, memory = told
        assert memory < 60e6  # bytes, with all that a step keeps
        assert count == choice["parameters"] and matrices == 4 * choice["config"]["n_layer"]
        assert losses[0] == pytest.approx(7.34, abs=0.1) and losses[-1] < losses[0] - 0.1
        assert exam < losses[0] and written > 0
    with pytest.raises(traitlets.TraitError, match="choice must be from 0 to 3; got 4"):
        LiveTraining(book()[1], exam=4, choice=4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"norm": "post"}, "config.norm is 'post'; the page trains with \"pre\" only."),
        ({"dropout": 0.1}, "config.dropout is 0.1"),
        ({"vocab_size": 1535}, "tokenizer has 1,536 tokens; config.vocab_size is 1,535."),
        ({"context_length": 40}, "its context_length is 40"),
    ],
)
def test_what_the_page_cannot_train_is_refused(change, said):
    with pytest.raises(ValueError) as error:
        LiveTraining(book()[1], GPTConfig.preset("stories", **change), exam=5)
    assert said in str(error.value)


def test_a_tokenizer_without_an_end_and_a_mistake_that_is_none_are_refused():
    with pytest.raises(ValueError, match="special token"):
        LiveTraining(BPETokenizer([]))
    with pytest.raises(traitlets.TraitError, match="mistakes"):
        LiveTraining(book()[1], exam=5, mistakes=["sleep"])
