"""The speedrun: its rules, its slopes by hand beside autograd, and a rehearsal of two steps."""

from __future__ import annotations

import json
import math
import random
import string
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from running import ROOT, clean_environment
from test_tasks import NANOGPT
from torch.nn import functional as F

from gptlib.given.records import measured, record

sys.path.insert(0, str(ROOT / "benchmarks"))

import speedrun
from sprint.halves import AttentionHalf, FeedForwardHalf, Shape
from sprint.model import Entry, Sprinter, hash_rows
from sprint.muon import orthogonal
from sprint.training import random_loss, text_loss, train_entry, windows

SCRIPT = ROOT / "benchmarks" / "speedrun.py"
RESULT = ROOT / "benchmarks" / "results" / "speedrun.json"
SMALL = Entry(
    n_layer=2, n_embd=16, n_head=2, tables=((3, 50), (4, 60)), context=8, batch=4, steps=3
)
LETTERS = (string.ascii_letters + string.digits + " .\n")[:65]  # as many as Tiny Shakespeare has


def letters(n: int = 20_000) -> str:
    """A text with 65 different characters, all of them in both parts."""
    return "".join(random.Random(0).choices(LETTERS, k=n))


def model(seed: int = 0) -> Sprinter:
    """A small one whose projections are no longer 0."""
    torch.manual_seed(seed)
    made = Sprinter(SMALL, 65)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


# The parts ---------------------------------------------------------------------------------------


def compare_slopes(by_hand, by_autograd, *inputs):
    """The same values, and the same slopes for all inputs."""
    got = by_hand(*inputs)
    weight = torch.randn_like(got)
    mine = torch.autograd.grad((got * weight).sum(), inputs)
    wanted = by_autograd(*inputs)
    theirs = torch.autograd.grad((wanted * weight).sum(), inputs)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_feed_forward_half_has_autograd_s_slopes():
    torch.manual_seed(0)
    inputs = [torch.randn(*size, requires_grad=True) for size in ((10, 8), (32, 8), (8, 32))]

    def plain(x, up, down):
        return x + F.linear(F.linear(F.rms_norm(x, (8,), eps=1e-6), up).relu().square(), down)

    compare_slopes(lambda *i: FeedForwardHalf.apply(*i, torch.float32), plain, *inputs)


def test_the_attention_half_has_autograd_s_slopes_and_pytorch_s_values():
    torch.manual_seed(0)
    B, T, H, C = 3, 5, 2, 8
    inputs = [torch.randn(*size, requires_grad=True) for size in ((B * T, C), (3 * C, C), (C, C))]
    angles = torch.rand(T, 2)
    cos, sin = angles.cos(), angles.sin()
    mask = torch.full((T, T), -math.inf).triu_(1)
    shape = Shape(B, T, H, torch.float32)

    def turned(x):  # (B, T, H, hs), as complex numbers
        x = F.rms_norm(x, (4,), eps=1e-6)
        pair = (
            torch.complex(x[..., :2], x[..., 2:])
            * torch.polar(torch.ones_like(angles), -angles)[:, None]
        )
        return torch.cat([pair.real, pair.imag], -1).transpose(1, 2)

    def plain(x, qkv, project):
        q, k, v = F.linear(F.rms_norm(x, (C,), eps=1e-6), qkv).view(B, T, 3, H, 4).unbind(2)
        heads = F.scaled_dot_product_attention(
            turned(q), turned(k), v.transpose(1, 2), is_causal=True, scale=0.12
        )
        return x + F.linear(heads.transpose(1, 2).reshape(B * T, C), project)

    compare_slopes(lambda *i: AttentionHalf.apply(*i, cos, sin, mask, shape), plain, *inputs)


def test_moves_are_the_nearest_orthogonal_matrices_for_wide_square_and_tall_ones():
    torch.manual_seed(0)
    for shape in ((3, 16, 40), (2, 16, 16), (2, 40, 16)):
        u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
        matrices = u * torch.linspace(1, 0.2, 16) @ v
        moves = orthogonal(matrices, 5, torch.float32)
        assert moves.shape == shape
        torch.testing.assert_close(moves, u @ v, rtol=0, atol=0.15)


# The rules ---------------------------------------------------------------------------------------


def test_no_place_sees_what_comes_after_it_nor_what_is_before_its_window():
    made, idx = model(), torch.randint(65, (1, 8))
    edited = idx.clone()
    edited[0, 5] = (edited[0, 5] + 1) % 65
    a, b = made(idx)[0], made(edited)[0]
    assert torch.equal(a[:, :5], b[:, :5]) and not torch.equal(a[:, 5:], b[:, 5:])
    for length, rows in SMALL.tables:  # a row is told by its own last characters alone
        row = hash_rows(idx, length, rows)
        assert torch.equal(hash_rows(idx[:, 2:], length, rows)[:, length:], row[:, 2 + length :])
        assert row.min() >= 0 and row.max() < rows


@pytest.mark.parametrize("name", speedrun.GOALS)
def test_every_entry_keeps_the_bound_of_parameters(name):
    made = Sprinter(speedrun.GOALS[name].entry, 65)
    assert made.num_parameters() <= 810_000
    assert made.num_parameters() == sum(
        {p.data_ptr(): p.numel() for p in made.parameters()}.values()
    )
    shown = {name for name, _ in made.named_parameters()}
    assert {name for name, _ in made.named_buffers()} == {"cos", "sin", "mask"} and shown


def test_a_model_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match=r"810,000\. Make a table"):
        train_entry(replace(SMALL, tables=((3, 60_000),)), letters(), 0, torch.float32)


def test_what_is_held_out_moves_no_weight():
    text = letters()
    other = text[:18_000] + text[18_000:][::-1]
    one, held_out, seconds = train_entry(SMALL, text, 0, torch.float32)
    two, held_out_2, _ = train_entry(SMALL, other, 0, torch.float32)
    assert torch.equal(held_out, held_out_2.flip(0)) and len(held_out) == 2000 and seconds > 0
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    three, _, _ = train_entry(SMALL, "b" + text[1:], 1, torch.float32)  # a seed is another run
    assert not torch.equal(one.head, three.head)


def test_each_round_goes_once_through_the_text():
    ids, entry = torch.arange(100), replace(SMALL, context=10, batch=3)
    drawn = windows(ids, entry, torch.Generator().manual_seed(0))
    rows = torch.cat([next(drawn) for _ in range(3)])
    assert rows.shape == (9, 11) and torch.equal(rows - rows[:, :1], torch.arange(11).expand(9, 11))
    firsts = rows[:, 0].sort().values
    assert (firsts.diff() % 10 == 0).all() and firsts.unique().numel() == 9


def test_the_exam_asks_every_character_once_and_random_windows_agree():
    made, ids = model(), torch.randint(65, (8 * 70 + 5,))
    logits = made(ids[:560].view(70, 8))[0]
    wanted = F.cross_entropy(logits.flatten(0, 1), ids[1:561]).item()
    assert text_loss(made, ids, 8) == pytest.approx(wanted, abs=1e-4)
    assert random_loss(made, ids, 8) == pytest.approx(wanted, rel=0.05)


# The command -------------------------------------------------------------------------------------


def call(folder, *words):
    """Run the script with a peer's folder in its variable."""
    variables = {**clean_environment(), "GPTLIB_NANOGPT": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, SCRIPT, *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


@pytest.fixture
def nanogpt(tmp_path):
    """A peer of a few lines, under the name by which the script knows the real one."""
    (tmp_path / "peer").mkdir()
    (tmp_path / "peer" / "model.py").write_text(NANOGPT)
    return tmp_path / "peer"


def test_what_is_missing_is_said(tmp_path, nanogpt):
    answer = call(tmp_path)
    assert answer.returncode == 3 and "Clone karpathy/nanoGPT" in answer.stderr
    answer = call(nanogpt, "--text", tmp_path / "none.txt")
    assert answer.returncode == 3 and "name Tiny Shakespeare by --text" in answer.stderr
    answer = call(nanogpt, "--rehearse")
    assert answer.returncode == 2 and "--rehearse is no result" in answer.stderr
    answer = call(nanogpt, "nonsense")
    assert answer.returncode == 2 and "entries some of transformer, sprint" in answer.stderr


def test_a_rehearsal_of_two_steps_has_the_form_of_the_record(tmp_path, nanogpt):
    (tmp_path / "text.txt").write_text(letters())
    out, stored = tmp_path / "out.json", RESULT.read_bytes()
    words = ("--rehearse", "--seeds", "2", "--text", tmp_path / "text.txt", "--out", out)
    answer = call(nanogpt, *words)
    assert answer.returncode == 0, answer.stderr
    found, kept = json.loads(out.read_text()), json.loads(stored)
    assert RESULT.read_bytes() == stored and found.keys() == kept.keys()
    assert found["entries"].keys() == speedrun.GOALS.keys() >= kept["entries"].keys()
    for entry in found["entries"].values():
        assert entry.keys() == kept["entries"]["sprint"].keys() and len(entry["runs"]) == 2
        assert not entry["reached"] and "not reached" in answer.stdout
        assert all(run["share"] > 0 and 3 < run["loss"] < 6 for run in entry["runs"])
    assert found["nanogpt"]["parameters"] == 804_096


def row(name: str, entry: dict) -> str:
    """An entry's row of the table, out of its record."""
    goal, made = entry["goal"], Sprinter(speedrun.GOALS[name].entry, 65).num_parameters()
    within = f"{goal['loss']} in 1/{1 / goal['share']:.0f}"
    share = f"1/{1 / entry['worst_share']:.1f}"
    return f"| `{name}` | {within} | {entry['worst_loss']:.4f} | {share} | {made:,} |"


def test_the_page_quotes_the_record():
    kept = json.loads(RESULT.read_text(encoding="utf-8"))
    page = " ".join((ROOT / "benchmarks" / "SPEEDRUN.md").read_text(encoding="utf-8").split())
    peer = kept["nanogpt"]
    assert f"take {peer['seconds']:.0f} seconds" in page
    for name, entry in kept["entries"].items():
        assert row(name, entry) in page


def test_the_record_holds_what_it_says():
    """Five seeds an entry, made with the entries of today, and the goals judged by the worst."""
    kept = json.loads(RESULT.read_text(encoding="utf-8"))
    assert kept["nanogpt"]["steps"] <= 2000 and {"sprint", "transformer"} <= kept["entries"].keys()
    for name, entry in kept["entries"].items():
        goal, runs = speedrun.GOALS[name], entry["runs"]
        assert entry["entry"] == json.loads(json.dumps(vars(goal.entry)))
        assert [run["seed"] for run in sorted(runs, key=lambda run: run["seed"])] == [*range(5)]
        for run in runs:
            assert run["loss"] <= goal.loss and run["share"] <= goal.share
            assert run["share"] == pytest.approx(
                run["seconds"] / kept["nanogpt"]["seconds"], rel=0.01
            )
        assert entry["reached"] is True


def test_the_log_says_what_the_chapter_quotes_of_it():
    page = " ".join((ROOT / "benchmarks" / "SPEEDRUN.md").read_text(encoding="utf-8").split())
    for row in (
        "Muon at 0.02, rates falling to 0 | 1.948 | 1/5.7 |",
        "products in bfloat16, all else in float32 | 1.948 | 1/8.9 |",
        "a table of threes, 3,000 rows | 1.850 | 1/8.9 |",
        "slopes by hand, half a block at a time | 1.849 | 1/8.6 |",
        "late imports before the clock | 1.849 | 1/10.9 |",
        "table's rate 0.1: 1.861 at 1/53.",
        "AdamW for the matrices, rate 0.002 · 0.005 · 0.01 | 1.921 · 1.897 · 1.893 |",
        "windows drawn at random, not each once a round | 1.902 |",
    ):
        assert row in page


def test_the_log_of_the_stories_is_that_of_the_records():
    """The recorded ends stand in it, and what a share of the time is comes from a step's price."""
    page = (ROOT / "benchmarks" / "SPEEDRUN.md").read_text(encoding="utf-8")
    speed, runs = record("speed"), measured("page_training")["runs"]
    quick = [run for run in runs if "quick" in run["name"]]

    def span(runs):
        ends = sorted(100 * run["above_floor"] for run in runs.values())
        return " to ".join(dict.fromkeys(f"{end:.0f}" for end in (ends[0], ends[-1])))

    for name, rates in (
        ("adamw", ("0.004", "0.008", "0.016", "0.032")),
        ("muon", ("0.01", "0.02", "0.005", "0.04")),
    ):
        row = " · ".join(span(speed["runs"][name][rate]) for rate in rates)
        share = 3100 / 775 / (speed["step"]["ratio"] if name == "muon" else 1)
        assert f"| 775 | 1/{share:.1f} | {row} |".replace("/4.0", "/4") in page
    ends = " · ".join(f"{100 * end:.1f}" for end in sorted(run["above_floor"] for run in quick))
    share = 3100 / quick[0]["steps"] / speed["step"]["ratio"]
    assert f"| {quick[0]['steps']:,} | 1/{share:.1f} | {ends} |" in page
    batches = record("recipe")["batches"]["16"]["0.016"]
    row = sorted(100 * run["above_floor"] for run in batches.values())
    assert f"{row[0]:.1f} · {row[1]:.1f} · {row[2]:.0f} |" in page
