"""The command `gptlib`: what it is told, where it looks, and one line for a user's mistake."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import gptlib
from gptlib.cli import chat, completion
from gptlib.cli.main import VERBS, main, parsers
from gptlib.engine import runs
from gptlib.exercises.work import FOLDER

MASK = "attention.causal_mask"
RIGHT = "def causal_mask(T):\n    return torch.arange(T)[:, None] >= torch.arange(T)\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder to stand in, where no variable names the learner's work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPTLIB_WORK", "")  # set, so that what a command sets is taken back
    return tmp_path


def work_in(folder: Path) -> None:
    """One exercise that is done."""
    (folder / "attention").mkdir(parents=True)
    (folder / "attention" / "causal_mask.py").write_text(RIGHT, encoding="utf-8")


@pytest.mark.parametrize("words", [[], ["nonsense"], ["progress", "--nonsense"]])
def test_words_that_are_none_are_refused_with_the_usage(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr()
    assert stopped.value.code == 2 and not said.out
    assert said.err.startswith("usage: gptlib ")
    if not words:
        assert "required: verb" in said.err


def test_it_tells_its_version_and_its_verbs(capsys):
    for words in (["--version"], ["--help"], ["progress", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"gptlib {gptlib.__version__} usage: gptlib ")
    assert "progress Say which exercises are done, and which one comes next." in said
    assert all(word in said for word in ("built step by step", "--work", "--all", "here or below"))


@pytest.mark.parametrize("where", [FOLDER, f"chapters/{FOLDER}"])
def test_the_work_is_found_here_and_in_the_chapters(here, where, capsys):
    work_in(here / where)
    assert main(["progress"]) == 0
    said = capsys.readouterr().out
    assert "3. Attention: 1 of " in said and "done: " not in said
    assert main(["progress", "--all"]) == 0
    assert f"done: {MASK}\n" in capsys.readouterr().out


def test_what_is_here_counts_before_the_chapters_and_what_is_named_before_both(here, capsys):
    work_in(here / "chapters" / FOLDER)
    (here / FOLDER).mkdir()
    assert main(["progress"]) == 0
    assert "3. Attention: 0 of " in capsys.readouterr().out
    work_in(here / "elsewhere")
    assert main(["progress", "--work", "elsewhere"]) == 0
    assert "3. Attention: 1 of " in capsys.readouterr().out


def test_without_any_work_everything_is_open(capsys):
    assert main(["progress"]) == 0
    assert "3. Attention: 0 of " in capsys.readouterr().out


def test_a_mistake_is_one_line_on_the_other_channel(capsys):
    assert main(["progress", "--work", "nowhere"]) == 2
    said = capsys.readouterr()
    assert not said.out and said.err.startswith("gptlib progress: nowhere is no folder. Name the ")
    assert said.err.count("\n") == 1


# A text of one's own, from end to end ------------------------------------------------------------

SMALL = [
    "--context-length",
    "8",
    "--n-layer",
    "1",
    "--n-embd",
    "8",
    "--n-head",
    "2",
    "--steps",
    "4",
]
SMALL += ["--batch-size", "2", "--eval-batches", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Path:
    """A text, prepared and learned from."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "my.txt").write_text("a cat sat on a mat\n" * 30, encoding="utf-8")
    assert main(["prepare", str(folder / "my.txt"), "--out", str(folder / "data")]) == 0
    assert main(["train", str(folder / "data"), "--out", str(folder / "run"), *SMALL]) == 0
    return folder


@pytest.fixture
def trained(here, once) -> Path:
    """The same in the folder to stand in."""
    shutil.copytree(once, here, dirs_exist_ok=True)
    return here


def test_five_commands_take_a_text_to_a_folder_that_others_load(here, capsys):
    (here / "my.txt").write_text("a cat sat on a mat\n" * 30, encoding="utf-8")
    assert main(["prepare", "my.txt", "--out", "data"]) == 0
    assert main(["train", "data", "--out", "run", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "CharTokenizer with 9 tokens, in data" in said and "Now: gptlib train data --out" in said
    assert "step 4/4  loss " in said and "Done: run." in said
    assert main(["generate", "run", "--prompt", "a cat", "--seed", "1", "--length", "9"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("a cat") and len(said.out) == 5 + 9 + 1
    assert said.err.startswith("9 tokens, ") and "tokens/s" in said.err
    assert main(["evaluate", "run", "--data", "data", "--samples", "2", "--json", "e.json"]) == 0
    assert "bits per byte" in capsys.readouterr().out
    assert main(["export", "run", "--to", "transformers", "out", "--scores", "e.json"]) == 0
    assert "out is a GPT2LMHeadModel" in capsys.readouterr().out
    assert main(["export", "run", "--to", "page", "site", "--scores", "e.json"]) == 0
    assert re.search(r"site/index.html has the model in it, 0\.\d MB", capsys.readouterr().out)
    page = (here / "site" / "index.html").read_text("utf-8")
    assert "<dt>validation bits_per_byte</dt>" in page and "not measured" not in page
    for path, what in (("data", "a prepared text"), ("run", "a run"), ("out", "Transformers")):
        assert main(["info", path]) == 0
        assert what in capsys.readouterr().out


def test_the_curve_goes_where_it_is_wanted_and_the_plan_trains_nothing(trained, capsys):
    assert main(["train", "data", "--out", "run", "--curve", "a.png"]) == 0
    assert (trained / "a.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(["train", "data", "--preset", "gpt2-124m", "--plan"]) == 0
    assert "eight A100, 40 % of peak" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prepare"], "name a text and a folder: gptlib prepare"),
        (["train"], "name a prepared text and a folder for the run: gptlib train"),
        (["generate"], "name a run: gptlib generate"),
        (["chat"], "name a run: gptlib chat"),
        (["evaluate"], "name a run and its text"),
        (["info"], "name a folder"),
        (["export", "run"], "name a run and a folder: gptlib export"),
        (["completion"], "name one of bash, zsh, fish"),
        (["train", "data", "--out", "run", "--lr", "1"], "lr is 0.0003 in the run at run, and 1.0"),
        (["train", "data", "--out", "r", "--curve", "a.txt"], "--curve must end in"),
        (["train", "nowhere", "--out", "r"], "There is no prepared text at nowhere"),
        (["train", "data", "--out", "r", "--preset", "huge"], "preset must be one of small, "),
        (["prepare", "my.txt", "--out", "d", "--split", "files"], "documents must be two or more"),
        (["generate", "data"], "data is not a whole checkpoint"),
        (["generate", "run", "--prompt", "?"], "which is none of the 9 characters"),
        (["generate", "run", "--checkpoint", "9"], "has no checkpoint 9; it has 4"),
    ],
)
def test_a_mistake_of_every_kind_is_one_line_and_status_two(trained, words, said, capsys):
    capsys.readouterr()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gptlib {words[0]}: ") and said in error and error.count("\n") == 1


# Settings from a file ----------------------------------------------------------------------------


def test_words_override_the_file_and_what_is_printed_can_be_read(here, capsys):
    (here / "a.toml").write_text('preset = "modern"\nsteps = 7\nlr = 1\n', encoding="utf-8")
    assert main(["train", "--config", "a.toml", "--steps", "9", "--print-config"]) == 0
    printed = capsys.readouterr().out
    told = tomllib.loads(printed)
    assert told["steps"] == 9 and told["lr"] == 1.0 and told["preset"] == "modern"
    assert told["n_kv_head"] == 2 and "dropout" not in told
    (here / "b.toml").write_text(printed, encoding="utf-8")
    assert main(["train", "--config", "b.toml", "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    assert main(["generate", "--no-sampling", "--print-config"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["sampling"] is False
    assert main(["train", "--dtype", "bfloat16", "--print-config"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["dtype"] == "bfloat16"
    for words, shard in (([], True), (["--no-shard"], False)):
        (here / "c.toml").write_text("shard = true\n", encoding="utf-8")
        assert main(["train", "--config", "c.toml", *words, "--print-config"]) == 0
        assert tomllib.loads(capsys.readouterr().out)["shard"] is shard


@pytest.mark.parametrize("verb", [v for v in VERBS if v not in ("progress", "completion")])
def test_every_verb_prints_its_settings_with_nothing_named(verb, capsys):
    assert main([verb, "--print-config"]) == 0
    assert capsys.readouterr().out or verb == "info"  # which has none


def test_the_peak_is_that_of_the_numbers_that_the_run_computes_in(trained, monkeypatch):
    from gptlib import roofline

    asked, measure = [], roofline.measure_machine

    def noted(device, dtype, **how):
        asked.append(dtype)
        return measure(device, dtype, **how)

    monkeypatch.setattr(roofline, "measure_machine", noted)
    half = ["train", "data", "--out", "half", *SMALL, "--dtype", "bfloat16"]
    for words in (half, half[:4], ["train", "data", "--out", "run"]):  # the last two go on
        assert main(words) == 0
    assert asked == [torch.bfloat16, torch.bfloat16, torch.float32]


class Terminal(io.StringIO):
    """An error channel that somebody looks at."""

    def isatty(self):
        return True


def test_a_bar_says_how_far_it_has_come_where_somebody_looks(trained, monkeypatch, capsys):
    prepare = ["prepare", "my.txt", "--out", "again", "--tokenizer", "bpe", "--vocab-size", "260"]
    evaluate = ["evaluate", "run", "--data", "data", "--samples", "2", "--length", "9"]
    for words, bars in (
        (prepare, {"counting": "583 ", "reading for merges": "570/570", "encoding": "570/570"}),
        (evaluate, {"writing": "9/9", "reading": "/1", "comparing": "1/1"}),
    ):
        assert main(words) == 0
        assert capsys.readouterr().err == ""
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", channel := Terminal())
            assert main(words) == 0
        shown = channel.getvalue().split("\r")
        for bar, end in bars.items():  # 13 more than 570: a mark ends the only document
            assert any(line.startswith(f"{bar}: ") and end in line for line in shown), (bar, shown)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = ", "a.toml is not TOML"),
        ("stops = 3", "a.toml has 'stops', which is no setting here; there are batch_size, "),
        ("steps = 1.5", "a.toml: steps must be of the kind int; got 1.5"),
        ('lr = "high"', "lr must be of the kind float; got 'high'"),
        ("config = 3", "no setting here"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(here, capsys, text, said):
    (here / "a.toml").write_text(text, encoding="utf-8")
    assert main(["train", "--config", "a.toml", "--print-config"]) == 2
    assert said in capsys.readouterr().err


def test_a_choice_in_the_file_is_one_of_the_choices(here, capsys):
    (here / "a.toml").write_text('split = "half"', encoding="utf-8")
    assert main(["prepare", "--config", "a.toml", "--print-config"]) == 2
    assert (
        "split must be one of auto, marks, files, position; got 'half'" in capsys.readouterr().err
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_a_line_that_works(verb, capsys):
    if not hasattr(VERBS[verb], "EXAMPLE"):
        assert verb == "progress"
        return
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0 and VERBS[verb].EXAMPLE in capsys.readouterr().out
    if verb != "completion":
        words = shlex.split(VERBS[verb].EXAMPLE)
        assert words[:2] == ["gptlib", verb]
        parsers()[0].parse_args(words[1:])


# The console -------------------------------------------------------------------------------------


def talked(writer, answers: list[str], kept=None) -> tuple[str, str]:
    """What is said at a console where these answers are given, and at its end."""
    said: list[str] = []
    rest = iter(answers)

    def ask(question: str) -> str:
        said.append(question)
        try:
            return next(rest)
        except StopIteration:
            raise EOFError from None

    end = chat.talk(writer, chat.Console(ask, said.append), seed=1, kept=kept)
    return "".join(said), end


def test_the_console_asks_until_it_is_told_to_leave(trained):
    from gptlib.engine.writer import Writer

    writer = Writer("run")
    said, end = talked(writer, ["a cat", "12", "yes", "0.5", "20", "a mat", "", "no", "exit"])
    assert end == "2 texts written."
    for word in ("length, 1 to 10000 [50]: ", "temperature, 0.1 to 1.5 [0.8]: ", "[12]: ",
                 "top-k, 10 to 100 [50]: ", "(12 tokens, "):  # fmt: skip
        assert word in said
    assert said.count("temperature") == 1  # without sampling nobody asks for it
    assert said.startswith(f"{chat.HELP}\n")


@pytest.mark.parametrize(("answers", "taken"), [(["0", "4", "1"], 1), (["3"], 3), ([""], 2)])
def test_both_ends_of_a_range_belong_to_it(answers, taken):
    rest, said = iter(answers), []
    console = chat.Console(lambda question: next(rest), said.append, {"count": 2})
    assert console.number("count", 1, 3) == taken == console.offered["count"]
    assert len(said) == len(answers) - 1 and list(rest) == []


def test_what_is_wrong_is_asked_again_and_history_is_kept(trained):
    from gptlib.engine.writer import Writer

    answers = ["?", "a", "many", "0", "5", "perhaps", "y", "9", "0,9", "5", "10", "history", "+"]
    said, end = talked(Writer("run"), answers)
    assert end == "1 texts written."  # the end of the input leaves, too
    assert "which is none of the 9 characters" in said
    for wrong in ("'many'", "'0'", "'perhaps'", "'9'", "'5'"):
        assert f"{wrong} is n" in said, wrong
    assert "number from 0.1 to 1.5" in said and "whole number from 10 to 100" in said
    first = said.partition("(5 tokens")[0].rpartition(": ")[2].strip("\n")
    assert said.count(first) == 2  # written once, shown once more by its history


def test_the_history_is_kept_over_sessions_in_the_run_s_folder(trained):
    from gptlib.engine.conversation import FILE, Conversation, place_of
    from gptlib.engine.writer import Writer

    writer, file = Writer("run"), trained / "run" / FILE
    assert place_of("run") == place_of(runs.checkpoints("run")[0]) == file
    assert place_of("data") is None
    said, _ = talked(writer, ["a cat", "5", "no", "exit"], Conversation(file))
    assert "earlier sessions" not in said
    (line,) = file.read_text("utf-8").splitlines()
    told = json.loads(line)
    assert told["prompt"] == "a cat" and len(told["text"]) == 10 and told["length"] == 5
    said, end = talked(writer, ["history", "+", "4", "no", "exit"], Conversation(file))
    assert "1 texts of earlier sessions are in the history." in said and end == "1 texts written."
    first, second = [json.loads(line)["text"] for line in file.read_text("utf-8").splitlines()]
    assert first == told["text"] and second.startswith(first) and len(second) == 14
    assert said.count(first) == 2  # in the history, and gone on with
    assert Conversation(file).texts == [first, second]


def test_damaged_lines_are_named_and_stay_and_a_cut_line_is_ended(trained):
    from gptlib.engine.conversation import FILE, Conversation
    from gptlib.engine.writer import Writer

    file = trained / "run" / FILE
    damaged = b'{"text": "a\xe2\x80\xa8b"}\n\xff\xfe\n{"text": 3}\n[1]\n\n{"text": "cut'
    file.write_bytes(damaged)
    kept = Conversation(file)
    assert kept.texts == ["a\u2028b"]
    said, _ = talked(Writer("run"), ["a", "3", "no"], kept)
    for number in (2, 3, 4, 6):
        assert f"{FILE}: line {number} is damaged: it is passed over, and stays as" in said, number
    text = file.read_bytes()
    assert text.startswith(damaged + b"\n{") and text.endswith(b"}\n") and text.count(b"\n") == 7
    assert len(Conversation(file).texts) == 2


def test_where_nothing_can_be_kept_it_is_said_once_and_writing_goes_on(trained):
    from gptlib.engine.conversation import Conversation
    from gptlib.engine.writer import Writer

    kept = Conversation(trained / "nowhere" / "chat.jsonl")
    said, end = talked(Writer("run"), ["a", "3", "no", "c", "3", "no", "exit"], kept)
    assert said.count("texts of this session are not kept") == 1 and end == "2 texts written."
    assert len(kept.texts) == 2


def test_a_file_that_cannot_be_read_is_told_of_and_left_alone(trained, monkeypatch):
    from gptlib.engine.conversation import Conversation

    file = trained / "run" / "chat.jsonl"
    file.write_text('{"text": "a mat"}\n', "utf-8")

    def refused(path):
        raise PermissionError(f"Permission denied: {path.name}")

    monkeypatch.setattr(Path, "read_bytes", refused)
    kept = Conversation(file)
    monkeypatch.undo()
    assert kept.texts == []
    assert kept.faults == [
        f"{file}: texts of this session are not kept: Permission denied: {file.name}"
    ]
    kept.add("a cat")
    assert kept.texts == ["a cat"] and file.read_text("utf-8") == '{"text": "a mat"}\n'


def test_the_command_keeps_it_unless_it_is_told_not_to(trained, monkeypatch, capsys):
    for words, lines in ((["--no-history"], 0), ([], 1), ([], 2)):
        answers = iter(["a", "3", "no", "exit"])
        monkeypatch.setattr("builtins.input", lambda question, answers=answers: next(answers))
        assert main(["chat", "run", *words]) == 0
        file = trained / "run" / "chat.jsonl"
        assert (len(file.read_bytes().splitlines()) if file.exists() else 0) == lines
    assert main(["train", "data", "--out", "run"]) == 0  # the run takes no harm
    assert "1 texts written." in capsys.readouterr().out


# A signal, and a shell ---------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_real_process_stops_well(trained):
    """From outside, as a shell and a batch system do it."""
    code = "import sys; from gptlib.cli.main import main; sys.exit(main())"
    words = ["train", "data", "--out", "long", *SMALL, "--steps", "100000", "--log-every", "1"]
    command = [sys.executable, "-u", "-c", code, *words]
    paths = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:  # fmt: skip
        for line in process.stdout:
            if line.startswith("step      3/"):
                process.send_signal(signal.SIGTERM)
                break
        _, error = process.communicate(timeout=120)
    assert process.returncode == 143 and "stopped and saved at step" in error
    assert "Go on with: gptlib train data --out long" in error


def completed(words: list[str]) -> list[str]:
    """What bash offers for the last of these words."""
    script = completion.bash(parsers()[1])
    line = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _gptlib"
    told = f'{script}\n{line}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    answer = subprocess.run(["bash", "-c", told], capture_output=True, text=True, check=True)
    return answer.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_verbs_words_and_files(here):
    (here / "gen_of_mine.txt").write_text("x", encoding="utf-8")
    assert completed(["gptlib", "gen"]) == ["generate"]
    assert completed(["gptlib", "train", "--see"]) == ["--seed"]
    assert completed(["gptlib", "completion", "z"]) == ["zsh"]
    assert completed(["gptlib", "prepare", "gen"]) == ["gen_of_mine.txt"]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_verb_and_word_is_in_each_shell_s_script(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for verb, parser in parsers()[1].items():
        assert verb in script
        for word in completion.words_of(parser):
            assert (f"-l {word[2:]} " if shell == "fish" else word) in script


def test_zsh_and_fish_say_what_each_word_does():
    verbs = parsers()[1]
    assert "'--plan[say what it would cost, and stop]'" in completion.zsh(verbs)
    lines = completion.fish(verbs).split("\n")
    train = "complete -c gptlib -n '__fish_seen_subcommand_from train'"
    assert f"{train} -l plan -d 'say what it would cost, and stop'" in lines
    says = verbs["train"].description
    assert f"complete -c gptlib -n __fish_use_subcommand -a train -d '{says}'" in lines
    shells = "complete -c gptlib -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'"
    assert shells in lines and "'1:which:(bash zsh fish)'" in completion.zsh(verbs)


# Words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_no_word_stands_there_without_saying_what_it_does(verb):
    assert [a.dest for a in parsers()[1][verb]._actions if not a.help] == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_number_on_the_command_line_is_read_as_one(verb):
    """Of the kind that the word begins with; a word of train has the recipe's for that."""
    from gptlib.engine.recipes import settings_of

    parser, recipe = parsers()[1][verb], settings_of("modern")
    for action in parser._actions:
        begins = recipe.get(action.dest) if verb == "train" else action.default
        if action.option_strings and type(begins) in (int, float):
            words = ["run", "out"] if verb == "export" else []
            told = vars(parser.parse_args([*words, action.option_strings[0], "1"]))
            assert type(told[action.dest]) is type(begins), action.dest


def test_a_command_begins_with_what_its_function_begins_with():
    """Who writes gptlib evaluate and who calls evaluate have the same figures."""
    from gptlib.engine.evaluation import evaluate
    from gptlib.engine.export import export_page
    from gptlib.engine.prepare import prepare
    from gptlib.engine.writer import Wish, Writer

    told = {verb: vars(parser.parse_args([])) for verb, parser in parsers()[1].items()
            if verb != "export"}  # fmt: skip
    told["export"] = vars(parsers()[1]["export"].parse_args(["run", "out"]))
    asked = {
        ("evaluate", evaluate): {"checkpoint": "which"},
        ("prepare", prepare): {},
        ("generate", Wish): {},
        ("generate", Writer): {"checkpoint": "which"},
        ("chat", chat.talk): {},
        ("chat", Writer): {"checkpoint": "which"},
        ("export", export_page): {"checkpoint": "which"},
    }
    for (verb, function), others in asked.items():
        known = inspect.signature(function).parameters
        begins = {name: p.default for name, p in known.items() if p.default is not p.empty}
        same = {name: others.get(name, name) for name in told[verb]}
        same = {name: own for name, own in same.items() if own in begins}
        assert len(same) >= 2, (verb, function)
        for name, own in same.items():
            if (verb, name) != ("prepare", "mark"):  # None stands for the stories' own
                assert told[verb][name] == begins[own], (verb, name)
