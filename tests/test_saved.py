"""400 damaged and forged checkpoints, of both kinds: refused, nothing changed, memory bounded."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forging import bombs, forge_file, forge_folder, save_old

from gptlib.checkpoint import load_checkpoint, save_checkpoint
from gptlib.gpt import GPT, GPTConfig
from gptlib.training import Run, TrainConfig

DATA = torch.arange(400) * 3 % 7
COUNT = 200  # of each kind
MULTIPLE = 6  # what a reader may take, in sizes of the file

# Reads every checkpoint of a folder and tells how its memory grew; a process of its own.
READER = """
import json, sys
from pathlib import Path
from forging import peak
from test_saved import same_state, small_run
from gptlib.checkpoint import load_checkpoint

folder, (run, before) = Path(sys.argv[1]), (small_run(1), small_run(1))
load_checkpoint(folder / "real", small_run(2).model)
load_checkpoint(folder / "real.pt", small_run(2).model)
told = {}
for path in sorted(folder.iterdir()):
    if path.stem == "real":
        continue
    start = peak()
    try:
        load_checkpoint(path, run.model, run)
        told[path.name] = ["accepted", 0]
    except ValueError as error:
        told[path.name] = [str(error), peak() - start]
    except BaseException as error:
        told[path.name] = [f"raised {type(error).__name__}: {error}", 0]
    if not same_state(run, before):
        told[path.name] = ["changed something", 0]
        run, before = small_run(1), small_run(1)
print(json.dumps(told))
"""


def small_run(seed: int) -> Run:
    """A run of two steps on a tiny model; another seed is another run."""
    torch.manual_seed(seed)
    shape = {"vocab_size": 7, "context_length": 8, "n_layer": 1, "n_head": 2, "n_embd": 16}
    settings = {"steps": 9, "batch_size": 2, "context_length": 8, "device": "cpu"}
    run = Run(GPT(GPTConfig(**shape, dropout=0.1)), DATA, TrainConfig(**settings))
    for _ in range(2):
        run.history.append(run.update())
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
def forged(tmp_path_factory):
    """A folder with a real checkpoint of each kind and COUNT forged ones; what was done to them."""
    folder, done = tmp_path_factory.mktemp("forged"), {}
    run = small_run(0)
    save_checkpoint(folder / "real", run.model, run)
    save_old(folder / "real.pt", run.model, run)
    for seed in range(COUNT):
        done[f"f{seed}"] = forge_folder(folder / "real", folder / f"f{seed}", random.Random(seed))
        name = f"f{seed}.pt"
        done[name] = forge_file(folder / "real.pt", folder / name, random.Random(seed))
    for name, path in bombs(folder, folder / "real.pt").items():
        done[path.name] = name
    return folder, done


@pytest.fixture(scope="module")
def told(forged):
    """What a process that tried to load them says."""
    tests = Path(__file__).parent
    code = f"import sys; sys.path.insert(0, {str(tests)!r})\n{READER}"
    command = [sys.executable, "-c", code, str(forged[0])]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout)


def test_every_one_is_refused_with_a_reason_and_changes_nothing(forged, told):
    assert told.keys() == forged[1].keys() and len(told) == 2 * COUNT + 3
    odd = ("accepted", "changed", "raised")
    bad = {name: said for name, (said, _) in told.items() if said.startswith(odd)}
    assert {name: (forged[1][name], said) for name, said in bad.items()} == {}


def test_reading_takes_a_small_multiple_of_the_size(forged, told):
    folder = forged[0]
    for name, (_, grown) in told.items():
        path = folder / name
        files = path.iterdir() if path.is_dir() else [path]
        size = sum(file.stat().st_size for file in files)
        # 2 MiB: what the allocator takes at a time. A list of 60,000 entries is objects.
        assert grown <= 2 * 2**20 + MULTIPLE * size * (3 if "often" in name else 1), name


def test_the_real_ones_come_back(forged):
    saved = small_run(0)
    for name in ("real", "real.pt"):
        run = small_run(1)
        load_checkpoint(forged[0] / name, run.model, run)
        assert same_state(run, saved)
        load_checkpoint(forged[0] / name, small_run(1).model)
