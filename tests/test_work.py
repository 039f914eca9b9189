"""What a learner has done is kept in files of theirs, used in a whole GPT, and counted."""

from __future__ import annotations

import inspect
import itertools
import json
import linecache
import os
import re
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from chapterfiles import chapters, read

import gptlib
from gptlib.attention import causal_mask
from gptlib.cli.main import main
from gptlib.exercises import answer, came_out, my_gpt, predict, progress, work
from gptlib.exercises.book import CHAPTERS, QUESTIONS, TASKS, exercise, otherwise
from gptlib.exercises.progress import Line, Progress
from gptlib.given.notebook import add_to
from gptlib.gpt import GPTConfig
from gptlib.merges import merge_pair
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.swiglu import SwiGLU
from gptlib.training import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
MASK = "attention.causal_mask"
RIGHT = "def causal_mask(T):\n    return torch.arange(T)[:, None] >= torch.arange(T)\n"
OTHER = "def causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril()\n"


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GPTLIB_WORK", str(tmp_path / "my_gpt"))
    return tmp_path / "my_gpt"


def written(code: str, name: str, space: dict | None = None):
    """What a notebook's cell defines: its code is found by its file's name alone."""
    path = f"<cell {len(linecache.cache)}>"
    linecache.cache[path] = (len(code), None, code.splitlines(keepends=True), path)
    space = {"torch": torch, "exercise": exercise, "__name__": "__main__", **(space or {})}
    exec(compile(code, path, "exec"), space)
    return space[name]


def cell(code: str, name: str = MASK, **space):
    """The same with the exercise's decorator above it."""
    return written(f'@exercise("{name}")\n{code}', name.split(".")[-1], space)


def test_a_right_answer_is_kept_as_plain_source(mine, capsys):
    assert not mine.exists()
    cell(RIGHT)
    path = mine / "attention" / "causal_mask.py"
    assert path.read_text() == f"# {MASK}, right with gptlib {gptlib.__version__}\n\n{RIGHT}"
    assert f"It is kept in {path}." in capsys.readouterr().out
    cell(RIGHT)
    assert f"It stands in {path}." in capsys.readouterr().out
    assert [p.name for p in path.parent.iterdir()] == ["causal_mask.py"]


def test_nothing_of_the_learner_s_is_overwritten(mine):
    cell(RIGHT)
    path = mine / "attention" / "causal_mask.py"
    path.write_text(path.read_text() + "\n# a thought of mine\n")
    cell(OTHER)
    cell(RIGHT)
    assert "a thought of mine" in path.with_suffix(".1.py").read_text()
    assert "tril" in path.with_suffix(".2.py").read_text()
    assert "arange" in path.read_text()


def test_the_same_code_under_another_first_line_is_not_kept_twice(mine, capsys):
    path = mine / "attention" / "causal_mask.py"
    path.parent.mkdir(parents=True)
    for head in ("", f"# {MASK}, right with gptlib 0.0.1\n\n"):
        path.write_text(head + RIGHT)
        cell(RIGHT)
        assert f"It stands in {path}." in capsys.readouterr().out
        assert path.read_text() == head + RIGHT


def test_a_wrong_or_empty_answer_is_not_kept(mine):
    cell("def causal_mask(T):\n    return torch.ones(T, T).bool()\n")
    cell("def causal_mask(T): ...\n")
    assert not mine.exists()


def test_an_answer_that_leans_on_its_notebook_is_right_and_not_kept(mine, capsys):
    code = f'@exercise("{MASK}")\ndef causal_mask(T):\n    return lower(torch.ones(T, T).bool())\n'
    written(code, "causal_mask", {"lower": torch.tril})
    said = capsys.readouterr().out
    assert f"{MASK}: right." in said and "not kept" in said and "'lower' is not defined" in said
    assert not mine.exists()


COUNT = """\
def count_bigrams(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.long)
    for a, b in pairwise(ids):
        counts[a, b] += 1
    return counts
"""
INSIDE = COUNT.replace("    counts", "    from itertools import pairwise\n\n    counts", 1)
GATE_OF_ITS_OWN = """\
class SwiGLU(nn.Module):
    def __init__(self, n_embd, hidden, bias=False, gating="swiglu"):
        super().__init__()
        self.gate, self.expand = (nn.Linear(n_embd, hidden, bias=bias) for _ in range(2))
        self.project = nn.Linear(hidden, n_embd, bias=bias)

    def forward(self, x):
        return self.project(bent(self.gate(x)) * self.expand(x))
"""


def test_a_name_of_another_cell_is_to_be_imported_or_written_inside(mine, capsys):
    cell(COUNT, "bigram.count_bigrams", pairwise=pairwise)
    said = capsys.readouterr().out
    assert "bigram.count_bigrams: right." in said and "It is not kept in" in said
    assert "Write the `import` of `pairwise` into this cell, inside the function." in said
    cell(INSIDE, "bigram.count_bigrams")
    assert "It is kept in" in capsys.readouterr().out
    more = {"nn": torch.nn, "it": itertools}
    cell(COUNT.replace("pairwise", "it.pairwise"), "bigram.count_bigrams", **more)
    assert "Write the `import` of `it` into this cell, " in capsys.readouterr().out
    cell(GATE_OF_ITS_OWN, "modern.SwiGLU", bent=torch.nn.functional.silu, **more)
    assert "the `import` of `bent` into this cell, inside the class." in capsys.readouterr().out
    own = written("def bent(x):\n    return x * x.sigmoid()\n", "bent")
    cell(GATE_OF_ITS_OWN, "modern.SwiGLU", bent=own, **more)
    said = capsys.readouterr().out
    assert "`bent` stands outside of your answer: write it into this cell, inside the cl" in said
    assert "`import`" not in said


def test_an_answer_may_call_an_earlier_one_and_keep_its_own_decorators(mine, capsys):
    code = (
        "@torch.enable_grad()\ndef attention_weights(query, key, mask=None):\n"
        "    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5\n"
        "    if mask is not None:\n"
        "        scores = scores.masked_fill(~(mask & causal_mask(len(mask))), -torch.inf)\n"
        "    return scores.softmax(-1)\n"
    )
    cell(code, "attention.attention_weights", causal_mask=causal_mask)
    path = mine / "attention" / "attention_weights.py"
    assert f"It is kept in {path}." in capsys.readouterr().out
    assert "@torch.enable_grad()\ndef attention_weights" in path.read_text()


def test_an_answer_may_call_one_of_another_chapter(mine, capsys):
    """Which its own module does not know: three pairs of chapter 1, none of them merged."""
    cell(
        "def causal_mask(T):\n    T = len(merge_pair([1] * T, (0, 0), 2))\n"
        "    return torch.ones(T, T, dtype=torch.bool).tril()\n",
        merge_pair=merge_pair,
    )
    assert f"It is kept in {mine / 'attention' / 'causal_mask.py'}." in capsys.readouterr().out
    my_gpt()
    assert f"Yours: {MASK} (1 of " in capsys.readouterr().out


def test_the_source_of_a_class_of_a_notebook_is_found():
    code = "class A:\n    x = 1\n    def f(self):\n        return 1\n\n\nclass B:\n    pass\n"
    assert work.source_of(written(code, "A")) == code[: code.index("\n\n\n") + 1]
    with pytest.raises(OSError, match="the code of B was not found"):
        work.source_of(written(code, "B"))


def test_the_learner_s_piece_is_called_by_the_course_s(mine, capsys):
    """Every other piece stays the course's and calls theirs: a mask that is seen at its work."""
    cell(RIGHT.replace("    return", "    causal_mask.asked = T\n    return"))
    pieces = my_gpt()
    assert f"Yours: {MASK} (1 of " in capsys.readouterr().out
    assert pieces.causal_mask.__code__.co_filename == str(mine / "attention" / "causal_mask.py")
    model = pieces.GPT(GPTConfig(20, 7, n_layer=1, n_head=2, n_embd=8))
    assert (
        pieces.causal_mask.asked == 7
        and model(torch.zeros(1, 3, dtype=torch.long))[0].isfinite().all()
    )


TURN = """\
def rotate(x, cos, sin):
    rotate.asked = x.shape
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
"""
GATE = """\
class SwiGLU(nn.Module):
    def __init__(self, n_embd, hidden, bias=False, gating="swiglu"):
        super().__init__()
        self.gate = nn.Linear(n_embd, hidden, bias=bias)
        self.expand = nn.Linear(n_embd, hidden, bias=bias)
        self.project = nn.Linear(hidden, n_embd, bias=bias)

    def forward(self, x):
        return self.project(F.silu(self.gate(x)) * self.expand(x))
"""


def test_a_modern_gpt_is_made_of_the_learner_s_turn_and_gate(mine, capsys):
    cell(TURN, "modern.rotate")
    cell(GATE, "modern.SwiGLU", nn=torch.nn, F=torch.nn.functional)
    pieces = my_gpt()
    assert "Yours: modern.rotate, modern.SwiGLU (2 of " in capsys.readouterr().out
    config = ModernConfig.preset("stories", n_layer=1)
    torch.manual_seed(0)
    model, ours = pieces.ModernGPT(config), ModernGPT(config)
    assert type(model.blocks[0].feed_forward) is pieces.SwiGLU is not SwiGLU
    ours.load_state_dict(model.state_dict())
    idx = torch.arange(6)[None]
    for theirs, wanted in zip(model.parameters(), ours.parameters(), strict=True):
        torch.nn.init.normal_(theirs, std=0.2)  # projections begin at zero
        wanted.data.copy_(theirs.data)
    torch.testing.assert_close(model(idx)[0], ours(idx)[0])
    assert pieces.rotate.asked == (1, 2, 6, 16)  # the keys of two heads came last


def test_all_core_answers_together_train_and_sample(mine, capsys):
    """Each kept as a learner's file: the model, its batches, its steps and its texts are theirs."""
    core = {name: task for name, task in TASKS.items() if task.kind == "core"}
    for name, task in core.items():
        path = work.file_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = textwrap.dedent(work.source_of(task.reference))
        path.write_text(f"# {name}{work.RIGHT_WITH}{gptlib.__version__}\n\n{source}")
    own = my_gpt()
    assert f"({len(core)} of {len(core)})." in capsys.readouterr().out and len(core) > 40
    assert {str(path) for path in mine.rglob("*.py")} == {
        inspect.unwrap(getattr(own, name.split(".")[-1])).__code__.co_filename
        if inspect.isfunction(getattr(own, name.split(".")[-1]))
        else str(work.file_of(name))
        for name in core
    }
    config, recipe = GPTConfig(7, 6, n_layer=1, n_head=2, n_embd=8), TrainConfig(steps=30, lr=0.1)
    ids, generator = torch.arange(70) % 7, torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model, memory, losses = own.GPT(config), {}, []
    for step in range(1, 31):
        loss = model(*own.get_batch(ids, 4, 6, generator=generator))[1]
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
        for group in own.parameter_groups(model, 0.01):
            for w in group["params"]:
                rate, kept = own.learning_rate(step, recipe), memory.setdefault(w, {})
                w.data = own.adamw_step(w.data, w.grad, kept, step, rate, decay=0.01)
    assert losses[-1] < 0.3 < 1.8 < losses[0]  # counting to seven is learned
    said = own.generate(model, torch.zeros(1, 1, dtype=torch.long), 5, temperature=0.1)
    assert said.tolist() == [[0, 1, 2, 3, 4, 5]]


def test_a_file_that_is_no_longer_right_says_why_and_stays(mine, capsys):
    cell(RIGHT)
    path = mine / "attention" / "causal_mask.py"
    path.write_text(path.read_text().replace(">=", "<="))
    my_gpt()
    said = capsys.readouterr().out
    assert "upside down" in said and "the course's" in said and "Yours: none yet" in said
    path.write_text("def causal_mask(T:\n")
    my_gpt()
    assert "SyntaxError" in capsys.readouterr().out and path.exists()


def test_a_file_that_another_version_took_for_right_says_so(mine, capsys, monkeypatch):
    cell(RIGHT)
    path = mine / "attention" / "causal_mask.py"
    path.write_text(path.read_text().replace(">=", "<="))
    assert "it was right with" not in progress().text()  # it was changed, and not the course
    now = gptlib.__version__
    monkeypatch.setattr(gptlib, "__version__", "99.2.0")
    said = f"\n  it was right with gptlib {now}; this is 99.2.0\n"
    assert said in progress().text() and "upside down" in progress().text()
    path.write_text(path.read_text().replace("(T):", "(T:"))
    capsys.readouterr()
    my_gpt()
    told = capsys.readouterr().out
    assert "SyntaxError" in told and said in told
    path.write_text(OTHER.replace("tril", "triu"))  # a file of theirs without the first line
    assert "it was right with" not in progress().text()


def test_a_class_of_the_learner_s_is_marked_as_theirs_and_a_function_is_not():
    gate = cell(GATE, "modern.SwiGLU", nn=torch.nn, F=torch.nn.functional)
    assert gate.written_by_learner and not hasattr(SwiGLU, "written_by_learner")
    assert not hasattr(cell(RIGHT), "written_by_learner")


def test_the_chapter_s_own_code_does_not_take_the_place_of_the_learner_s():
    right = cell(RIGHT)
    assert otherwise(MASK)(print) is right
    cell("def causal_mask(T): ...\n")
    assert otherwise(MASK)(print) is print


def test_a_class_of_the_learner_s_gets_no_methods_of_the_chapter_s():
    class Whole:
        written_by_learner = True

    class Below(Whole):
        pass

    for cls, taken in ((Whole, False), (Below, True)):
        add_to(cls)(lambda self: 1)
        assert hasattr(cls, "<lambda>") is taken


def test_progress_counts_and_says_what_is_next(mine, capsys):
    before = progress()
    assert before.next and before.of(3) and all(line.state == "open" for line in before.lines)
    cell(RIGHT)
    assert [line.name for line in progress().lines if line.state == "done"] == [MASK]
    assert f"3. Attention: 1 of {len(before.of(3))}" in progress().text()
    assert '<th scope="row">3. Attention</th><td>1 of' in progress()._repr_html_()
    assert f"<caption>Next: {progress().next}</caption>" in progress()._repr_html_()
    assert f"   done: {MASK}" in progress().text(every=True).split("\n")
    assert "done: " not in progress().text() and repr(progress()) == progress().text()
    for thing, name in ((progress(), "lines"), (progress().lines[0], "state")):
        with pytest.raises(AttributeError, match="cannot assign"):
            setattr(thing, name, "done")
    path = mine / "attention" / "causal_mask.py"
    path.write_text(path.read_text().replace(">=", "<="))
    assert "upside down" in progress().text() and "3. Attention: 0 of" in progress().text()
    capsys.readouterr()
    assert main(["progress", "--all"]) == 0
    assert "Next: " in capsys.readouterr().out


def test_the_table_has_every_chapter_with_exercises_under_its_own_title(mine):
    lines = progress().lines
    heads = [read(path).cells[0].source.split("\n")[0][2:] for path in chapters()]
    titles = dict(head.split(". ", 1) for head in heads)
    text, page = progress().text().split("\n"), progress()._repr_html_()
    for number in dict.fromkeys(line.chapter for line in lines):
        own = [line.name.split(".")[-1] for line in lines if line.chapter == number]
        title = f"{number}. {titles[str(number)]}"
        assert f"{title}: 0 of {len(own)}" in text
        cells = f"<td>0 of {len(own)}</td><td>{', '.join(own)}</td>"
        assert f'<th scope="row">{title}</th>{cells}' in page
    assert len(text) == page.count("<th ") - 3 + 1  # no other rows; below them what is next


def test_who_has_done_everything_is_told_so():
    all_done = Progress((Line(1, "tokenizer.merge_pair", "done"),))
    assert all_done.next is None
    assert all_done.text().split("\n")[-1] == "All of them are done."
    page = all_done._repr_html_()
    assert "<caption>Next: nothing, all are done</caption>" in page
    assert '<th scope="row">1. Tokenizer</th><td>1 of 1</td><td>nothing</td>' in page


def test_a_value_that_is_typed_in_is_looked_at_noted_and_counted(mine, capsys):
    one = next(q for q in QUESTIONS.values() if isinstance(q.answer(**q.figures(0)), int))
    two = next(q for q in QUESTIONS.values() if isinstance(q.answer(**q.figures(0)), tuple))
    for question in (one, two):
        answer(question.name, ...)
        answer(question.name)
        said = capsys.readouterr().out
        assert said.count(f"{question.name}: nothing is written yet. ") == 2
        assert said.count(f'A hint: hint("{question.name}")') == 2
    assert not mine.exists()  # what is not attempted is not kept
    answer(one.name, one.mistakes[0].made(**one.figures(0)))
    assert f"{one.name}: not yet" in capsys.readouterr().out
    chapter = next(n for n, c in enumerate(CHAPTERS, 1) if one in getattr(c, "QUESTIONS", ()))
    assert [line.state for line in progress().of(chapter) if line.name == one.name] == ["open"]
    answer(one.name, one.answer(**one.figures(0)))
    answer(two.name, *two.answer(**two.figures(0)))  # several values are one answer
    assert capsys.readouterr().out.count(": right. ") == 2
    done = [line.name for line in progress().lines if line.state == "done"]
    assert sorted(done) == sorted([one.name, two.name])
    assert json.loads((mine / "answers.json").read_text())[one.name]["state"] == "right"


def test_code_and_values_are_not_taken_for_each_other():
    question = next(iter(QUESTIONS))
    with pytest.raises(ValueError, match=rf"{MASK} is answered with code: write @exercise\("):
        answer(MASK, 3)
    with pytest.raises(ValueError, match=rf"{question} is answered with a value: answer\("):
        exercise(question)


def test_an_answer_may_call_itself_while_it_is_looked_at(capsys):
    cell(
        "def causal_mask(T):\n    if T == 1:\n        return torch.ones(1, 1, dtype=torch.bool)\n"
        "    mask = torch.ones(T, T, dtype=torch.bool)\n    mask[:-1, -1] = False\n"
        "    mask[:-1, :-1] = causal_mask(T - 1)\n    return mask\n"
    )
    assert f"{MASK}: right." in capsys.readouterr().out


def test_predictions_are_kept_counted_and_not_counted_twice(mine, capsys):
    predict("about six thousand")
    assert "came_out(True)" in capsys.readouterr().out
    assert "Predictions" not in progress().text()  # it is not known yet
    came_out(False)
    assert capsys.readouterr().out == "Predictions: 0 of 1 came out as you guessed.\n"
    predict("the second row")
    came_out(True)
    capsys.readouterr()
    for said, right in (("about six thousand", True), ("the second row", False)):
        predict(said)  # the notebook runs once more, and nothing is counted anew
        came_out(right)
    assert "noted already" in capsys.readouterr().out
    wanted = "Predictions: 1 of 2 came out as you guessed."
    assert wanted in progress().text() and f"<caption>{wanted} Next: " in progress()._repr_html_()
    kept = json.loads((mine / "answers.json").read_text())["predictions"]
    assert [one["came_out"] for one in kept] == [False, True]


@pytest.mark.parametrize("number", range(1, len(CHAPTERS) + 1))
def test_a_chapter_loads_the_words_of_a_prediction_with_its_first_exercise(number):
    (path,) = (ROOT / "chapters").glob(f"{number:02}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    first = next(source for source in code if "@exercise(" in source)
    (loaded,) = re.findall(r"^from gptlib.exercises import (.*)$", first, re.MULTILINE)
    assert {"predict", "came_out", "hint", "exercise"} <= {*loaded.split(", ")}


def test_what_is_no_prediction_is_refused(mine):
    for nothing in ("", "  ", None, 5):
        with pytest.raises(ValueError, match="said must be your guess in words"):
            predict(nothing)
    with pytest.raises(ValueError, match="There is no guess yet"):
        came_out(True)
    predict("a few")
    with pytest.raises(ValueError, match="right must be True or False; got 'yes'"):
        came_out("yes")
    (mine / "answers.json").write_text('{"predictions": {"said": "a few"}}')
    with pytest.raises(ValueError, match="holds no predictions"):
        progress()


def test_damaged_answers_are_said_and_stay(mine, capsys):
    mine.mkdir()
    (mine / "answers.json").write_text("{")
    assert main(["progress"]) == 2
    said = capsys.readouterr()
    assert "answers.json is damaged" in said.err and not said.out
    assert (mine / "answers.json").read_text() == "{"


def test_the_command_is_installed_and_finds_the_work_of_the_notebooks(tmp_path, monkeypatch):
    folder = tmp_path / "chapters" / "my_gpt" / "attention"
    folder.mkdir(parents=True)
    (folder / "causal_mask.py").write_text(RIGHT)
    env = {k: v for k, v in os.environ.items() if k != "GPTLIB_WORK"}
    env["PYTHONPATH"] = str(Path(gptlib.__file__).parents[1])
    code = "import sys; from gptlib.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "progress", "--all"]
    said = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert f"done: {MASK}" in said.stdout and said.returncode == 0
    said = subprocess.run(
        [*command, "--work", "nowhere"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert said.returncode == 2 and "nowhere is no folder" in said.stderr
    assert textwrap.dedent(said.stderr).count("\n") == 1


def test_the_core_pieces_are_all_that_a_gpt_is_written_from():
    """Tokenizer, bigram, a walk back through a graph, attention to sampler: no two of one name."""
    core = [name for name, task in TASKS.items() if task.kind == "core"]
    last = [name.split(".")[-1] for name in core]
    assert len(set(last)) == len(last)
    wanted = """CharTokenizer count_pairs merge_pair train_merges apply_merges get_batch BigramModel
        backward attention_weights CausalSelfAttention LayerNorm gelu FeedForward TransformerBlock
        GPT adamw_step parameter_groups learning_rate training_step next_token_probs generate"""
    assert set(wanted.split()) <= set(last)
