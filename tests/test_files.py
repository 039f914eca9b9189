"""Files and folders that are written whole: kills, links, modes, two at once, and what is left."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
import tracemalloc
from fractions import Fraction
from pathlib import Path

import pytest
import torch

import gptlib.given.files as files
import gptlib.given.folders as folders
from gptlib.checkpoint import load_checkpoint, save_checkpoint
from gptlib.given.files import check_frugal, parse_frugal, replacing, write_text
from gptlib.given.folders import is_saved, read_whole, replacing_folder

POSIX = os.name == "posix"
KILLS, SEED = 100, 7
# A server that has everything loaded forks each process that is to be killed.
METHOD = "forkserver" if POSIX else "spawn"
context = multiprocessing.get_context(METHOD)
if POSIX:
    context.set_forkserver_preload(["gptlib.checkpoint", "pytest"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def model(value: int) -> torch.nn.Module:
    """A model all of whose weights are one number: a mixture of two would be seen."""
    made = torch.nn.Linear(100, 100)
    for p in made.parameters():
        torch.nn.init.constant_(p, value)
    return made


def value_in(path: Path) -> float:
    """The one number in a saved model."""
    made = model(-1)
    load_checkpoint(path, made)
    values = torch.cat([p.flatten() for p in made.parameters()])
    assert (values == values[0]).all()
    return values[0].item()


# Files -------------------------------------------------------------------------------------------


def test_the_new_file_appears_all_at_once(tmp_path):
    path = tmp_path / "notes.txt"
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == tmp_path  # the same disk, or renaming would copy
    assert path.read_text() == "half"
    assert names(tmp_path) == ["notes.txt"]


def test_writing_that_fails_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "notes.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="no space"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("no space left")
    assert (path.read_text(), names(tmp_path)) == ("old", ["notes.txt"])


def test_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "a", "one\ntwo\r\nthree ü")
    assert (tmp_path / "a").read_bytes() == "one\ntwo\r\nthree ü".encode()


def test_the_user_s_folder_and_bad_places(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_text("~/a", "x")
    assert (tmp_path / "a").read_text() == "x"
    for bad, reason in (("~nobody-at-all/a", "path must name a place"), ("~", "is none")):
        with pytest.raises(ValueError, match=reason):
            write_text(bad, "x")
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "missing" / "a", "x")


@pytest.mark.parametrize("folder", [False, True])
def test_links_and_modes_are_kept(tmp_path, folder):
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real", tmp_path / "link"
    save = (lambda: save_checkpoint(link, model(1))) if folder else lambda: write_text(link, "1")
    link.symlink_to(real, target_is_directory=folder)
    save()
    inner = real / "model.safetensors" if folder else real
    inner.chmod(0o641)
    real.chmod(0o751 if folder else 0o641)
    wanted = [path.stat().st_mode for path in (inner, real)]
    save()
    assert link.is_symlink() and real.exists()
    assert [path.stat().st_mode for path in (inner, real)] == wanted
    assert (names(tmp_path), names(tmp_path / "far")) == (["far", "link"], ["real"])


def test_a_link_under_a_temporary_s_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    hexes = iter(["0" * 12, "1" * 12])
    monkeypatch.setattr(files.secrets, "token_hex", lambda n: next(hexes))
    (tmp_path / f".notes.{'0' * 12}.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "notes", "x")
    assert victim.read_text() == "mine"


def test_everything_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    calls = []

    def note(name, call):
        def noting(path, *more):
            calls.append((name, Path(path).name))
            return call(path, *more)

        return noting

    for module in (files, folders):
        monkeypatch.setattr(module, "flush", note("flush", files.flush))
    monkeypatch.setattr(os, "rename", note("rename", os.rename))
    monkeypatch.setattr(os, "replace", note("replace", os.replace))
    write_text(tmp_path / "notes", "x")
    (_, first), (_, second), last = calls
    assert [name for name, _ in calls] == ["flush", "replace", "flush"]
    assert first == second and last == ("flush", tmp_path.name)
    save_checkpoint(tmp_path / "run", model(1))
    calls.clear()
    save_checkpoint(tmp_path / "run", model(2))
    order = [call for call in calls if not call[1].startswith(".run")]
    flushed = {("flush", n) for n in ("model.safetensors", "config.json", "manifest.json")}
    at = order.index(("rename", "run"))
    assert flushed <= set(order[:at]) and order[at + 1] == ("flush", tmp_path.name)
    new = next(n for kind, n in calls if kind == "flush" and n.startswith(".run"))
    assert (
        calls.index(("flush", new)) < calls.index(("rename", "run")) < calls.index(("rename", new))
    )


def test_what_a_dead_writer_left_goes_with_the_next_one_and_what_a_living_one_writes_stays(
    tmp_path,
):
    left = tmp_path / f".notes.{'0' * 12}.tmp"
    with replacing(tmp_path / "notes") as temporary:  # this writer lives
        left.write_text("half")
        os.utime(left, (time.time() - 2 * files.LEFTOVER_AGE,) * 2)  # where there are no locks
        write_text(tmp_path / "notes", "other")
        assert names(tmp_path) == sorted([temporary.name, "notes"])
        temporary.write_text("mine")
    assert ((tmp_path / "notes").read_text(), names(tmp_path)) == ("mine", ["notes"])


def test_removing_what_another_process_removes_too(tmp_path, monkeypatch):
    def gone(*args, **more):
        raise FileNotFoundError("another process was quicker")

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    with monkeypatch.context() as patch:
        for name in ("unlink", "rmdir"):
            patch.setattr(os, name, gone)
        files.remove(tmp_path / "a")
    files.remove(tmp_path / "a")
    files.remove(tmp_path / "a")  # and what was never there
    assert names(tmp_path) == []


def test_flushing_reaches_the_disk_for_a_file_and_for_a_folder(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "fsync", lambda handle: asked.append(os.fstat(handle).st_ino))
    if hasattr(files.fcntl, "F_FULLFSYNC"):  # macOS
        full = files.fcntl.F_FULLFSYNC
        note = lambda handle, what: asked.append(os.fstat(handle).st_ino if what == full else 0)  # noqa: E731
        monkeypatch.setattr(files.fcntl, "fcntl", note)
    (tmp_path / "a").write_text("x")
    files.flush(tmp_path / "a")
    files.flush(tmp_path)
    folders_too = [tmp_path] if POSIX else []  # Windows keeps the names of a folder by itself
    assert asked == [path.stat().st_ino for path in (tmp_path / "a", *folders_too)]


def test_numbers_of_other_libraries_become_plain_ones():
    values = (torch.tensor([1, 2]), torch.tensor(0.5), Fraction(1, 4))
    assert [files.plain(value) for value in values] == [[1, 2], 0.5, 0.25]
    assert type(files.plain(torch.tensor(3))) is int


# Folders -----------------------------------------------------------------------------------------


def test_what_others_have_put_into_the_folder_is_kept(tmp_path):
    save_checkpoint(tmp_path / "run", model(1))
    (tmp_path / "run" / "notes.txt").write_text("lr was too high")
    save_checkpoint(tmp_path / "run", model(2))
    assert (tmp_path / "run" / "notes.txt").read_text() == "lr was too high"
    assert value_in(tmp_path / "run") == 2


def test_a_folder_that_fails_keeps_the_old_one(tmp_path):
    save_checkpoint(tmp_path / "run", model(1))
    with pytest.raises(OSError, match="no space"), replacing_folder(tmp_path / "run") as new:
        (new / "a").write_text("half")
        raise OSError("no space left")
    assert (value_in(tmp_path / "run"), names(tmp_path)) == (1, ["run"])


def test_what_the_old_one_had_and_the_new_one_has_not_is_gone(tmp_path):
    about = {"format": "x"}
    with replacing_folder(tmp_path / "run", **about) as new:
        for name in ("a", "b"):
            (new / name).write_text("old")
    (tmp_path / "run" / "c").write_text("somebody else's")
    with replacing_folder(tmp_path / "run", **about) as new:
        for name in ("a", "c"):
            (new / name).write_text("new")
    assert names(tmp_path / "run") == ["a", "c", "manifest.json"]
    assert {(tmp_path / "run" / name).read_text() for name in "ac"} == {"new"}


def test_a_folder_that_is_empty_may_be_saved_to_and_one_of_somebody_else_may_not(tmp_path):
    (tmp_path / "empty").mkdir()
    save_checkpoint(tmp_path / "empty", model(1))
    assert value_in(tmp_path / "empty") == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="path must name a new folder, or one that was saved"):
        save_checkpoint(tmp_path / "other", model(1))
    assert names(tmp_path / "other") == ["mine.txt"]


def test_what_is_saved_is_found_under_its_name_and_in_the_middle_of_a_swap(tmp_path):
    path = tmp_path / "run"
    assert not is_saved(path)
    save_checkpoint(path, model(1))
    assert is_saved(path)
    os.rename(path, tmp_path / f".run.{'0' * 12}.old")
    assert is_saved(path) and value_in(path) == 1
    assert not is_saved(tmp_path / "other")


def test_a_file_that_is_not_as_the_manifest_says_is_named(tmp_path):
    path = tmp_path / "run"
    save_checkpoint(path, model(1))
    for file in ("config.json", "model.safetensors"):
        content = (path / file).read_bytes()
        other = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
        for wrong, reason in ((other, "has changed"), (content + b" ", "has changed")):
            (path / file).write_bytes(wrong)
            with pytest.raises(ValueError, match=f"its part {file} {reason}"):
                read_whole(path, lambda folder, manifest: None)
        (path / file).unlink()
        with pytest.raises(ValueError, match=f"its part {file} is missing"):
            read_whole(path, lambda folder, manifest: None)
        (path / file).write_bytes(content)
    read_whole(path, lambda folder, manifest: None)
    manifest = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(manifest + " " * folders.MOST_BYTES)  # well formed
    with pytest.raises(ValueError, match=r"its manifest\.json is too long"):
        read_whole(path, lambda folder, manifest: None)
    (path / "manifest.json").write_text(manifest + " " * (folders.MOST_BYTES - len(manifest)))
    read_whole(path, lambda folder, manifest: None)
    twice = manifest.replace("{", '{"files": {}, ', 1)  # the second of a name would win unseen
    (path / "manifest.json").write_text(twice)
    with pytest.raises(ValueError, match=r"its manifest\.json is not JSON"):
        read_whole(path, lambda folder, manifest: None)


def test_a_name_that_begins_like_another_is_another(tmp_path):
    for name in ("run", "run.a", "run*"):
        save_checkpoint(tmp_path / name, model(1))
    os.rename(tmp_path / "run.a", tmp_path / f".run.a.{'0' * 12}.old")
    save_checkpoint(tmp_path / "run", model(2))
    save_checkpoint(tmp_path / "run*", model(2))
    assert value_in(tmp_path / "run.a") == 1


def test_a_reader_whose_folder_is_replaced_begins_again(tmp_path):
    save_checkpoint(tmp_path / "run", model(1))
    seen = []

    def read(folder, manifest):
        seen.append(manifest["files"]["model.safetensors"]["sha256"])
        if len(seen) == 1:
            save_checkpoint(tmp_path / "run", model(2))
        return seen[-1]

    assert read_whole(tmp_path / "run", read) == seen[1] != seen[0]


# Kills -------------------------------------------------------------------------------------------


def save_forever(path: Path, first: int, ready) -> None:
    for value in range(first, first + 10**6):
        save_checkpoint(path, model(value))
        ready.set()


def test_a_hundred_kills_leave_a_checkpoint_and_nothing_else(tmp_path):
    path, chance, last, torn = tmp_path / "run", random.Random(SEED), 0.0, 0
    for _ in range(KILLS):
        ready = context.Event()
        child = context.Process(target=save_forever, args=(path, int(last) + 1, ready))
        child.start()
        assert ready.wait(120)
        time.sleep(chance.uniform(0, 0.03))
        child.kill()
        child.join()
        assert is_saved(path)
        torn += names(tmp_path) != ["run"]
        now = value_in(path)
        assert now > last  # never an older one
        save_checkpoint(path, model(int(now) + 1))
        last = now + 1
        assert names(tmp_path) == ["run"]
        assert value_in(path) == last
    assert torn > KILLS / 4  # many of the kills came in the middle of a save


STEPS = {os: ("rename", "mkdir", "rmdir", "unlink", "fsync", "chmod", "utime")}


def stop_at(path: Path, number: int) -> None:
    """Save, and be gone at the step of this number that changes something on the disk."""
    left = [number]

    def ending(call):
        def step(*args, **more):
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return call(*args, **more)

        return step

    for module, calls in STEPS.items():
        for name in calls:
            setattr(module, name, ending(getattr(module, name)))
    save_checkpoint(path, model(2))


def test_it_may_be_killed_at_every_single_step(tmp_path):
    number, ended = 0, 9
    while ended == 9:
        number += 1
        path = tmp_path / str(number) / "run"
        path.parent.mkdir()
        save_checkpoint(path, model(1))
        (path / "notes.txt").write_text("mine")
        child = context.Process(target=stop_at, args=(path, number))
        child.start()
        child.join()
        ended = child.exitcode
        assert value_in(path) in (1, 2)
        save_checkpoint(path, model(3))
        assert names(path.parent) == ["run"]
        assert (value_in(path), (path / "notes.txt").read_text()) == (3, "mine")
    assert ended == 0 and number > 12


def save_often(path: Path, value: int, count: int) -> None:
    for _ in range(count):
        save_checkpoint(path, model(value))
        write_text(path.with_name("notes"), "x" * 10**5)


def test_two_at_once_both_end_well_and_a_reader_sees_one_of_them(tmp_path):
    path = tmp_path / "run"
    save_checkpoint(path, model(1))
    children = [context.Process(target=save_often, args=(path, v, 40)) for v in (1, 2)]
    for child in children:
        child.start()
    read = []
    while any(child.is_alive() for child in children):
        read.append(value_in(path))
    assert [child.exitcode for child in children] == [0, 0]
    assert set(read) <= {1, 2} and len(read) > 3
    save_checkpoint(path, model(3))
    write_text(tmp_path / "notes", "y")
    assert (names(tmp_path), value_in(path)) == (["notes", "run"], 3)


def test_without_locks_an_old_leftover_goes_and_a_young_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    for mark, age in (("0", 2 * files.LEFTOVER_AGE), ("1", 0)):
        left = tmp_path / f".run.{mark * 12}.tmp"
        left.mkdir()
        os.utime(left, (time.time() - age,) * 2)
    save_checkpoint(tmp_path / "run", model(1))
    assert names(tmp_path) == [f".run.{'1' * 12}.tmp", "run"]


# JSON that asks for more memory than it has text --------------------------------------------------


RECORD = {"step": 9, "loss": 1.5, "lr": 0.1, "grad_norm": 1.0, "tokens": 9, "seconds": 1.25}


def taken(text: str) -> float:
    """The most memory that reading a JSON text takes, in sizes of it; 2 MiB are free."""
    tracemalloc.start()
    try:
        parse_frugal(text)
        return (tracemalloc.get_traced_memory()[1] - 2**21) / len(text)
    finally:
        tracemalloc.stop()


def test_a_long_history_is_read_and_takes_a_small_multiple():
    for told in ([RECORD] * 40_000, [{**RECORD, "skill": 0.25}] * 40_000, [0.1234567] * 400_000):
        text = json.dumps(told)
        assert len(text) > 2**21 and parse_frugal(text) == told
        assert taken(text) < files.TIMES


@pytest.mark.parametrize("unit", ["[],", "{},", "[[]],", '"a",', "1e9,", "[1],", '{"a":1},'])
def test_many_small_values_are_refused_before_they_are_made(unit):
    n = 2**21 // len(unit)
    with pytest.raises(ValueError, match="so many small values"):
        parse_frugal(f"[{unit * n}0]")
    parse_frugal(f"[{unit * (n // 100)}0]")  # a short text may take what it likes
    tracemalloc.start()
    with pytest.raises(ValueError, match="so many small values"):
        check_frugal(f"[{unit * n}0]")
    assert tracemalloc.get_traced_memory()[1] < 4 * 2**21  # the text, twice
    tracemalloc.stop()


def test_what_could_not_be_read_again_is_not_saved(tmp_path):
    save_checkpoint(tmp_path / "run", model(1))

    class Talkative:
        def state_dict(self):
            return {"history": [[]] * 2**19, "optimizer": {}, "random": {}}

    with pytest.raises(ValueError, match=r"run\.json could not be read again: .* Let evaluate"):
        save_checkpoint(tmp_path / "run", model(2), Talkative())
    assert names(tmp_path) == ["run"]
    loaded = model(0)
    load_checkpoint(tmp_path / "run", loaded)
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.parameters(), model(1).parameters(), strict=True)
    )


def test_a_folder_that_was_moved_away_and_is_gone_when_it_is_looked_at_is_no_fault(
    tmp_path, monkeypatch
):
    """A swap ends between the list of what stands beside a checkpoint and the look at it."""
    path = tmp_path / "run"
    save_checkpoint(path, model(1))
    list_of = folders.those_beside

    def late(target, kind):
        old = files.beside(target, "old")
        os.rename(away, target)
        return [*list_of(target, kind), old]  # which nobody finds any more

    away = tmp_path / "away"
    os.rename(path, away)
    monkeypatch.setattr(folders, "those_beside", late)
    assert value_in(path) == 1
