"""400 damaged and forged checkpoints, of both kinds: refused, nothing changed, memory bounded.

And a hundred in parts, as several processes write them, each with the reason that is to be heard.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forging import bombs, changes, forge_file, forge_folder, save_old, sign, spots
from forging_parts import DAMAGED, FORGED, ONE, TWO, forge_parts, pickled
from ranks import in_ranks
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

from gptlib.checkpoint import load_checkpoint, load_model, save_checkpoint
from gptlib.engine import runs
from gptlib.engine.parts import save_in_parts
from gptlib.engine.processes import Processes
from gptlib.engine.shared import shared
from gptlib.given.shards import _whole
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import CharTokenizer
from gptlib.training import Run, TrainConfig

DATA = torch.arange(400) * 3 % 7
TOKENIZER = CharTokenizer("abcdefg")
COUNT = 200  # of each kind
BOMBS = 5 * 3 + 1  # of JSON: kinds of values, in each file of a folder; in an old file
MULTIPLE = 6  # what a reader may take, in sizes of the file

# Reads every checkpoint of a folder and tells how its memory grew; a process of its own.
READER = """
import json, sys
from pathlib import Path
from forging import peak
from test_saved import TOKENIZER, same_state, small_run
from gptlib.checkpoint import load_checkpoint

folder, batch, told = Path(sys.argv[1]), int(sys.argv[2]), {}
run, before = small_run(1, batch), small_run(1, batch)
for path in sorted(folder.glob("real*")):
    load_checkpoint(path, small_run(2).model)
for path in sorted(folder.iterdir()):
    if path.stem.startswith("real"):
        continue
    start = peak()
    try:
        load_checkpoint(path, run.model, run, TOKENIZER)
        told[path.name] = ["accepted", 0]
    except ValueError as error:
        told[path.name] = [str(error), peak() - start]
    except BaseException as error:
        told[path.name] = [f"raised {type(error).__name__}: {error}", 0]
    if not same_state(run, before):
        told[path.name] = ["changed something", 0]
        run, before = small_run(1, batch), small_run(1, batch)
print(json.dumps(told))
"""


def small_run(seed: int, batch_size: int = 2, group: Processes | None = None) -> Run:
    """A run of two steps on a tiny model, in a group in parts; another seed is another run."""
    torch.manual_seed(seed)
    shape = {"vocab_size": 7, "context_length": 8, "n_layer": 1, "n_head": 2, "n_embd": 16}
    settings = {"steps": 9, "batch_size": batch_size, "context_length": 8, "device": "cpu"}
    model = GPT(GPTConfig(**shape, dropout=0.1))
    if group is not None:
        model = shared(model, group, torch.device("cpu"), shard=True)
    run = Run(model, DATA, TrainConfig(**settings))
    for _ in range(2):
        run.history.append(run.update() | {"train_loss": 1.5, "val_loss": 1.75})
    return run


def same_state(one: Run, other: Run) -> bool:
    """Whether two runs are the same to the last bit, the seconds aside."""
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        if not torch.equal(a, b):
            return False
    states = [run.state_dict() for run in (one, other)]
    for state in states:
        for told in (state, *state["history"]):
            told.pop("seconds", None)
    tensors = [{**state.pop("optimizer"), "data": state.pop("random")["data"]} for state in states]
    same = all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    return same and states[0] == states[1]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A real checkpoint of now; beside it one of the first kind."""
    folder, run = tmp_path_factory.mktemp("forged"), small_run(0)
    save_checkpoint(folder / "real", run.model, run)
    save_old(folder / "real.pt", run.model, run)
    return folder / "real"


@pytest.fixture(scope="module")
def forged(real):
    """A folder with a real checkpoint of each kind and COUNT forged ones; what was done to them."""
    folder, done = real.parent, {}
    for seed in range(COUNT):
        done[f"f{seed}"] = forge_folder(folder / "real", folder / f"f{seed}", random.Random(seed))
        name = f"f{seed}.pt"
        done[name] = forge_file(folder / "real.pt", folder / name, random.Random(seed))
    for name, path in bombs(folder, folder / "real.pt").items():
        done[path.name] = name
    return folder, done


def read_by_another(folder: Path, batch_size: int) -> dict:
    """What a process says that tried to load all checkpoints of a folder."""
    tests = Path(__file__).parent
    code = f"import sys; sys.path.insert(0, {str(tests)!r})\n{READER}"
    command = [sys.executable, "-c", code, str(folder), str(batch_size)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def told(forged):
    """What a process that tried to load them says."""
    return read_by_another(forged[0], 2)


def test_every_one_is_refused_with_a_reason_and_changes_nothing(forged, told):
    assert told.keys() == forged[1].keys() and len(told) == 2 * COUNT + 3 + BOMBS
    odd = ("accepted", "changed", "raised")
    bad = {name: said for name, (said, _) in told.items() if said.startswith(odd)}
    assert {name: (forged[1][name], said) for name, said in bad.items()} == {}


def test_every_single_value_that_is_told_in_json_is_looked_at(real, tmp_path):
    """All changes of them: to a run that resumes, and where a model is built from the folder."""
    folder = tmp_path / "forged"
    shutil.copytree(real, folder)
    run, before, tried = small_run(1), small_run(1), 0
    load_model(folder)
    for name in ("run.json", "config.json"):
        content = (real / name).read_text()
        told = json.loads(content)
        for path in spots(told):
            for changed in changes(told, path):
                (folder / name).write_text(json.dumps(changed))
                sign(folder)
                with pytest.raises(
                    ValueError, match=r"forged|run to be resumed|The saved run|data"
                ):
                    load_checkpoint(folder, run.model, run)
                    pytest.fail(f"{path} was accepted in {name}: {json.dumps(changed)}")
                tried += 1
        (folder / name).write_text(content)
        sign(folder)
    assert tried > 300 and same_state(run, before)
    load_checkpoint(folder, run.model, run)


FIELDS = {"tied": "x", "waves": [], "bias": "no", "qkv_bias": 0, "norm": [], "gelu": 1, "init": {}}


@pytest.mark.parametrize("name", FIELDS)
def test_a_forged_field_of_a_model_is_named_with_the_path(real, tmp_path, name):
    folder = tmp_path / "forged"
    shutil.copytree(real, folder)
    told = json.loads((folder / "config.json").read_text())
    told["config"][name] = FIELDS[name]
    (folder / "config.json").write_text(json.dumps(told))
    sign(folder)
    named = rf"forged .*\b{name}\b.*{re.escape(repr(FIELDS[name]))}"
    with pytest.raises(ValueError, match=named):
        load_model(folder)
    with pytest.raises(ValueError, match=named):  # weights alone, a field that need not be ours
        load_checkpoint(folder, small_run(1).model)
    with pytest.raises(ValueError, match=named):
        runs.load(folder)


HISTORIES = {
    "a loss in words": lambda h: h[1].update(loss="x"),
    "a loss that is none": lambda h: h[1].update(loss=None),
    "a loss that is nan": lambda h: h[1].update(loss=float("nan")),
    "a validation loss with parts": lambda h: h[1].update(val_loss={}),
    "fewer than no tokens": lambda h: h[0].update(tokens=-5),
    "tokens of another step": lambda h: h[0].update(tokens=h[1]["tokens"]),
    "a record without a loss": lambda h: h[1].pop("loss"),
    "a record that is a word": lambda h: h.append("x"),
    "a record twice": lambda h: h.append(h[1]),
    "time that runs back": lambda h: h[0].update(seconds=h[1]["seconds"] + 1),
    "time after the end": lambda h: h[1].update(seconds=1e308),
    "a rate below 0": lambda h: h[1].update(lr=-1.0),
    "an endless gradient": lambda h: h[1].update(grad_norm=float("inf")),
}


@pytest.mark.parametrize("forge", HISTORIES.values(), ids=HISTORIES)
def test_a_history_that_no_run_has_is_refused(real, tmp_path, forge):
    folder = tmp_path / "forged"
    shutil.copytree(real, folder)
    told = json.loads((folder / "run.json").read_text())
    forge(told["history"])
    (folder / "run.json").write_text(json.dumps(told))
    sign(folder)
    for load in (lambda: load_model(folder), lambda: load_checkpoint(folder, small_run(1).model)):
        with pytest.raises(ValueError, match=r"The saved run has .* of another run\. Take an earl"):
            load()


def test_what_an_evaluator_measures_is_its_own_affair(real, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(real, folder)
    told = json.loads((folder / "run.json").read_text())
    first = {"step": 0, "loss": None, "lr": 0.0, "grad_norm": None, "tokens": 0, "seconds": 0.0}
    told["history"].insert(0, first | {"skills": {"cause": 0.5}, "val_loss": None})
    told["history"][1].pop("train_loss")
    for name in ("train_loss", "val_loss"):  # what nobody has measured
        told["history"][2].pop(name)
    (folder / "run.json").write_text(json.dumps(told))
    sign(folder)
    run = small_run(1)
    assert load_checkpoint(folder, run.model, run) == told["history"] == run.history


def test_a_reason_is_more_than_what_python_says_of_another_form(told):
    words = ("has no attribute", "indices must be", "unsupported operand", "is not iterable")
    for name, (said, _) in told.items():
        assert "another form" in said or not any(word in said for word in words), (name, said)


def test_reading_takes_a_small_multiple_of_the_size(forged, told):
    assert_bounded(forged[0], told)


def assert_bounded(folder: Path, told: dict) -> None:
    for name, (_, grown) in told.items():
        path = folder / name
        files = path.iterdir() if path.is_dir() else [path]
        size = sum(file.stat().st_size for file in files)
        # 2 MiB: what the allocator takes at a time. A list of 60,000 entries is objects.
        assert grown <= 2 * 2**20 + MULTIPLE * size * (3 if "often" in name else 1), name


def test_the_real_ones_come_back(real):
    saved = small_run(0)
    for name in ("real", "real.pt"):
        run = small_run(1)
        load_checkpoint(real.parent / name, run.model, run)
        assert same_state(run, saved)
        load_checkpoint(real.parent / name, small_run(1).model)


# In parts ----------------------------------------------------------------------------------------

KINDS = FORGED | DAMAGED
NUMBERED = {f"p{number:03d}": name for number, name in enumerate(KINDS)}


def save_as_rank(rank: int, n: int, path: Path) -> None:
    group = Processes(rank, n)
    save_in_parts(path, group, small_run(0, 4, group), TOKENIZER)


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def parts(tmp_path_factory, patched):
    """A folder with a real checkpoint in two parts, and every forged one that there is."""
    folder, four = tmp_path_factory.mktemp("parts"), tmp_path_factory.mktemp("four")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what is forked here trains
    for n, path in ((2, folder / "real"), (4, four / "real")):
        in_ranks(n, four / f"{n}", save_as_rank, n, path)
    torch.set_num_threads(threads)
    patched.setenv("HARM", str(folder / "real-harm"))  # what a program would make
    for number, name in NUMBERED.items():
        forge_parts(folder / "real", four / "real", folder / number, name)
    return folder


@pytest.fixture(scope="module")
def told_of_parts(parts):
    return read_by_another(parts, 4)


def test_every_one_in_parts_is_refused_with_its_reason_and_changes_nothing(parts, told_of_parts):
    assert told_of_parts.keys() == NUMBERED.keys() and len(NUMBERED) >= 100
    odd = re.compile("accepted|changed something|raised |another form")
    for number, (said, _) in told_of_parts.items():
        reason = KINDS[NUMBERED[number]][1]
        assert re.search(reason, said) and not odd.match(said), (NUMBERED[number], said)
        assert len(said) < 600, said
    assert not (parts / "real-harm").exists()


def test_reading_parts_takes_a_small_multiple_of_their_size(parts, told_of_parts):
    assert_bounded(parts, told_of_parts)


def test_the_real_one_in_parts_comes_back_whatever_its_parts_are_called(
    parts, tmp_path, monkeypatch
):
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    run, other = small_run(1, 4), small_run(2, 4)
    load_checkpoint(parts / "real", run.model, run, TOKENIZER)
    assert run.step == 2 and [told["step"] for told in run.history] == [1, 2]
    assert not same_state(run, other)
    changed = tmp_path / "changed"
    shutil.copytree(parts / "real", changed)
    for old, new in ((ONE, "x"), (TWO, ONE), ("x", TWO)):
        (changed / old).rename(changed / new)
    sign(changed)
    # Files that torch's own format has, and that are programs: nobody looks at them.
    for name in (".metadata", "__0_0.distcp"):
        (changed / name).write_bytes(pickled())
    load_checkpoint(changed, other.model, other, TOKENIZER)
    assert same_state(run, other) and not (tmp_path / "harm").exists()


def state_of_rank(run: Run) -> list[bytes]:
    tensors = [*run.model.parameters(), *(t for t in run.state_dict()["optimizer"].values())]
    own = [t.to_local() if hasattr(t, "to_local") else t for t in tensors]
    return [t.detach().numpy().tobytes() for t in own] + [str([run.step, run.history]).encode()]


def load_as_rank(rank: int, paths: list[Path]) -> list[str]:
    run = small_run(1, 4, Processes(rank, 2))
    before, said = state_of_rank(run), []
    for path in paths:
        try:
            load_checkpoint(path, run.model, run, TOKENIZER)
            said.append("accepted")
        except ValueError as error:
            said.append(str(error))
        if (state_of_rank(run) != before) != (said[-1] == "accepted"):
            said[-1] = f"changed something: {said[-1]}"
    return said


@pytest.mark.usefixtures("one_thread")
def test_a_model_in_parts_refuses_them_in_every_process(parts, tmp_path):
    """Also where only one of the processes would take the piece that is wrong."""
    words = ("piece", "part", "nan", "inf", "squares")
    names = [name for name in KINDS if any(word in name for word in words)]
    assert len(names) >= 30
    numbers = {name: number for number, name in NUMBERED.items()}
    paths = [parts / numbers[name] for name in names]
    for said in in_ranks(2, tmp_path / "ranks", load_as_rank, [*paths, parts / "real"]):
        assert said.pop() == "accepted"
        for name, words in zip(names, said, strict=True):
            assert re.search(KINDS[name][1], words) and "changed some" not in words, (name, words)


def save_a_broken_one_as_rank(rank: int, path: Path) -> str:
    group = Processes(rank, 2)
    run = small_run(1, 4, group)
    if rank == 1:
        with torch.no_grad():
            next(run.model.parameters()).to_local()[0, 0] = float("nan")
    try:
        save_in_parts(path, group, run, TOKENIZER)
    except ValueError as error:
        return str(error)
    return "saved"


@pytest.mark.usefixtures("one_thread")
def test_a_model_that_is_broken_in_one_part_is_saved_by_no_process(tmp_path):
    said = in_ranks(2, tmp_path / "ranks", save_a_broken_one_as_rank, tmp_path / "run")
    assert ["token_embedding.weight holds nan or inf" in words for words in said] == [True, True]
    assert not (tmp_path / "run").exists()


def test_the_command_line_refuses_a_model_whose_class_is_no_name(parts):
    number = next(n for n, name in NUMBERED.items() if name == "a list for a class")
    with pytest.raises(ValueError, match=r"its config\.json describes no model"):
        runs.load(parts / number)


def test_a_part_that_goes_away_while_it_is_read_is_an_error_like_others(parts, monkeypatch):
    """What torch raises then is no Exception, and would end the program."""

    def read_data(*_):
        raise FileNotFoundError(ONE)

    monkeypatch.setattr(HuggingFaceStorageReader, "read_data", read_data)
    with pytest.raises(ValueError, match="its parts cannot be read, or have changed meanwhile"):
        load_checkpoint(parts / "real", small_run(1).model)


def test_pieces_lie_one_behind_the_other():
    byte, half = torch.int8, torch.float16
    for pieces, whole in (
        ([([0, 0], (2, 3), byte)], (2, 3)),
        ([([2, 0], (1, 3), byte), ([0, 0], (2, 3), byte)], (3, 3)),
        ([([2], (0,), byte), ([0], (2,), byte), ([2], (0,), byte)], (2,)),  # no row for some
        ([([], (), byte)], ()),
    ):
        assert _whole("x", pieces) == (whole, byte)
    for pieces in (
        [([1], (2,), byte)],
        [([], (), byte)] * 2,
        [([0], (2,), byte), ([2], (), byte)],
        [([0], (2,), byte), ([], (), byte)],
        [([0, 0], (2, 3), byte), ([2, 0], (2, 4), byte)],
        [([0, 0], (2, 3), byte), ([0, 3], (2, 3), byte)],
    ):
        with pytest.raises(ValueError, match="its parts do not make a whole x"):
            _whole("x", pieces)
    with pytest.raises(ValueError, match="its pieces of x are not of one kind"):
        _whole("x", [([0], (2,), byte), ([2], (2,), half)])
