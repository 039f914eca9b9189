"""The bug foundry: each fault changes the program; the rule that deals; what a guess is told."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch

from gptlib.exercises import Patient, bug, fault_table, faults, fingerprints, foundry, ward
from gptlib.exercises.fault_table import KINDS, Variant
from gptlib.exercises.faults import Fault, all_faults, draw, program_of, space_of
from gptlib.exercises.program import CONFIG, RECIPE, windows
from gptlib.given import plots
from gptlib.given.records import record
from gptlib.gpt import GPT
from gptlib.training import Run, TrainConfig

IN_ALL = [fault for fault in all_faults() if fault.block is None]
IN_ONE = [fault for fault in all_faults() if fault.block == 2]
GARBAGE = "no clipping, and a batch of garbage"


@pytest.fixture(scope="module")
def texts():
    """Tokens at random: 50 texts to train on, 20 others."""
    ids = torch.randint(CONFIG.vocab_size, (3000,), generator=torch.Generator().manual_seed(99))
    return (ids[:2000], torch.arange(0, 1900, 38)), (ids[2000:], torch.arange(0, 900, 45))


def two_steps(fault, texts, seed=0):
    """Numbers of a run of two steps: losses, gradients, and where the weights are then."""
    program = program_of(fault, *texts, seed)
    seen = [program.evaluate()]
    for step in (1, 2):
        seen += program.update(step).values()
    seen += [program.evaluate()]
    return seen + [p.double().square().sum().item() for p in program.model.parameters()]


@pytest.fixture(scope="module")
def healthy(texts):
    return two_steps(None, texts)


# The program and its faults -----------------------------------------------------------------------


def test_the_program_without_a_fault_is_the_course_s_own(texts, healthy):
    """Run from its source anew, as the package has it, and as `training.Run` would train it."""
    anew = space_of()["Program"](*texts, 0)
    assert type(anew.model) is not GPT and anew.evaluate() == healthy[0]
    assert [*anew.update(1).values(), *anew.update(2).values()] == healthy[1:5]
    config = TrainConfig.preset(
        "stories", batch_size=32, steps=200, context_length=16, device="cpu"
    )
    assert replace(RECIPE, context_length=16, device="cpu") == config
    torch.manual_seed(0)
    run = Run(GPT(CONFIG), texts[0][0], config, texts[0][1])
    for i in (1, 3):
        metrics = run.update()
        assert [metrics["loss"], metrics["grad_norm"]] == healthy[i : i + 2]


def test_a_run_is_as_long_as_the_recorded_ones():
    known = record("foundry")
    assert (RECIPE.steps, ward.EVERY) == (known["steps"], known["every"])
    assert known["floor"][-1] > 0 and len(known["floor"]) == CONFIG.context_length
    ratios = len(ward.moments(ward.EVERY, RECIPE.steps))
    for patient in known["patients"].values():
        assert len(patient["table"]) == len(patient["blocks"]) == ratios


def test_there_are_many_kinds_and_no_two_faults_are_one():
    assert len(KINDS) >= 30 and len({kind.name.casefold() for kind in KINDS}) == len(KINDS)
    assert len({fault.told for fault in all_faults()}) == len(all_faults()) > 150
    assert sum(len(kind.variants) > 1 for kind in KINDS) > 20


@pytest.mark.parametrize("fault", IN_ALL, ids=lambda fault: fault.told)
def test_a_fault_changes_the_program_and_always_in_the_same_way(fault, texts, healthy):
    seen = two_steps(fault, texts)
    assert seen == two_steps(fault, texts)
    assert all(map(math.isfinite, seen))
    if fault.kind.name == GARBAGE:  # not before its step
        step = int(fault.variant.detail.split()[-1])
        assert seen == healthy
        program, sound = program_of(fault, *texts, 0), program_of(None, *texts, 0)
        known = {tuple(row) for row in windows(*texts[0])[0].tolist()}
        assert all(tuple(row) in known for row in sound.batch(step)[0].tolist())
        assert not any(tuple(row) in known for row in program.batch(step)[0].tolist())
        program.update(step)
        grads = [p.grad.norm().item() for p in program.model.parameters()]
        assert math.hypot(*grads) > 1.1  # it is not cut to 1
    else:
        assert seen != healthy


@pytest.mark.parametrize("fault", IN_ONE, ids=lambda fault: fault.told)
def test_a_fault_in_one_block_leaves_the_others_sound(fault, texts, healthy):
    assert two_steps(fault, texts) != healthy
    program, sound = program_of(fault, *texts, 0), program_of(None, *texts, 0)
    x = torch.randn(2, 16, 64, generator=torch.Generator().manual_seed(0))  # (B, T, C)
    same = []
    for blocks in zip(program.model.blocks, sound.model.blocks, strict=True):
        shown = x.clone().requires_grad_()
        outs = [block(shown) for block in blocks]
        ways = [torch.autograd.grad(out.sum(), shown, allow_unused=True)[0] for out in outs]
        cut = any(way is None for way in ways)
        same.append(torch.equal(*outs) and not cut and torch.equal(*ways))
    assert same == [True, True, False, True]


def test_the_model_that_sees_the_future_does_and_the_healthy_one_does_not(texts):
    idx = texts[0][0][:16][None].clone()  # (1, T)
    other = idx.clone()
    other[0, -1] = (idx[0, -1] + 1) % CONFIG.vocab_size
    leaks = set()
    inside = [fault for fault in IN_ALL if fault.variant.inside]
    for fault in [None, *inside]:
        model = program_of(fault, *texts, 0).model.eval()
        with torch.no_grad():
            first, second = (model(i)[0][0, :-1] for i in (idx, other))
        if not torch.allclose(first, second, atol=1e-5):
            leaks.add(fault and fault.kind.name)
    assert leaks == {
        "no mask", "softmax over the wrong axis", "heads without transpose",
        "norm over the wrong axis",
    }  # fmt: skip


def test_an_edit_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="'nowhere' must stand once in gpt; it stands 0 x"):
        space_of(Variant("lost", (("gpt", "nowhere", "x"),)))
    with pytest.raises(ValueError, match=r"'self' must stand once in block; it stands \d+ x"):
        space_of(Variant("twice", (("block", "self", "x"),)))


def test_the_draw_takes_each_kind_once_and_then_again_and_its_variants_in_turn():
    n = len(KINDS)
    for first in (0, n, 7 * n):
        assert {draw(seed).kind.name for seed in range(first, first + n)} == set(faults.NAMES)
    assert [draw(seed) for seed in range(99)] == [draw(seed) for seed in range(99)]
    assert [draw(s).kind for s in range(n)] != [draw(s).kind for s in range(n, 2 * n)]
    met = {draw(seed).variant.detail for seed in range(6 * n) if draw(seed).kind.name == "no mask"}
    assert met == {variant.detail for variant in faults.NAMES["no mask"].variants}
    assert {draw(s).block for s in range(10 * n)} == {None, 0, 1, 2, 3}


def test_the_difference_shows_the_changed_lines():
    fault = Fault(
        faults.NAMES["zero_grad forgotten"], faults.NAMES["zero_grad forgotten"].variants[0]
    )
    assert fault.difference.split("\n") == [
        "gptlib/exercises/program.py",
        "-        self.optimizer.zero_grad()",
    ]
    for fault in all_faults():
        assert re.search(r"^[-+] *\S", fault.difference, re.MULTILINE), fault.told


def test_where_a_release_lacks_the_lines_the_file_is_named_all_the_same(monkeypatch):
    monkeypatch.setattr(faults, "getsource", lambda module: "# taken out for a class\n")
    assert draw(0).difference in {f"gptlib/{p.replace('.', '/')}.py" for p in faults.PARTS}


# Watching -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    return ward.Ward(300, 20)


def test_a_run_is_watched_by_what_a_fingerprint_reads(small):
    found = ward.watch(None, small, seed=3, steps=4)
    assert found == ward.watch(None, small, seed=3, steps=4)
    assert {len(found[name]) for name in ward.TRACES} == {1}
    assert len(found["exam"]) == 16 and len(found["early"]) == len(found["late"]) == 4
    assert found["early"] == found["late"] and 0 <= found["pronoun"] <= 1
    program = program_of(None, small.train, small.val, 3)
    assert found["start"] == ward.rounded(program.evaluate())
    steps = [program.update(step) for step in range(1, 5)]
    assert found["train"] == [ward.rounded(sum(s["loss"] for s in steps) / 4)]
    assert found["grad_norm"] == [ward.rounded(sum(s["grad_norm"] for s in steps) / 4)]
    assert found["val"] == [ward.rounded(program.evaluate())]


def test_the_update_ratio_is_the_length_of_the_last_change_over_that_of_the_weights(small, capsys):
    program = program_of(None, small.train, small.val, 0)

    def parts():
        """The token table, then the matrices of each block as one row of numbers."""
        blocks = [[p for p in b.parameters() if p.dim() == 2] for b in program.model.blocks]
        whole = [[program.model.token_embedding.weight], *blocks]
        return [torch.cat([p.detach().flatten() for p in some]) for some in whole]

    for step in (1, 2):
        before = parts()
        program.update(step)
    pairs = list(zip(before, parts(), strict=True))
    table, *each = ((new - old).norm().item() / old.norm().item() for old, new in pairs)
    old, new = (torch.cat(some) for some in zip(*pairs[1:], strict=True))
    found = ward.watch(None, small, seed=0, steps=2)
    assert found["table"][0] == pytest.approx(table, rel=0.01)
    assert found["blocks"][0] == pytest.approx(((new - old).norm() / old.norm()).item(), rel=0.01)
    assert found["early"] == found["late"] == pytest.approx(each, rel=0.01)
    assert capsys.readouterr().err == ""  # no bar unless it is asked for
    ward.watch(None, small, seed=0, steps=2, progress=True)
    assert "2/2" in capsys.readouterr().err


def test_the_exam_scores_rightly_what_the_program_scores_wrongly(small):
    """With targets that are the inputs the validation loss is another one; the exam is not."""
    fault = next(f for f in IN_ALL if f.variant.detail == "the targets are the inputs")
    wrong, right = (program_of(f, small.train, small.val, 0) for f in (fault, None))
    assert wrong.evaluate() != right.evaluate()
    assert small.examine(wrong.model) == small.examine(right.model)
    T = CONFIG.context_length
    loss = right.model(small.key.idx[:, :T], small.key.targets[:, :T])[1].item()
    exam = small.examine(right.model)["exam"]
    assert sum(exam) / T == pytest.approx(loss, abs=1e-4)
    assert len(small.floor) == T and min(small.floor) > 0


def test_a_run_that_breaks_down_says_so(small):
    broken = Variant("x", (("exercises.program", "learning_rate(step, RECIPE)", "float('nan')"),))
    fault = Fault(fault_table.Kind("broken", (broken,)), broken)
    with pytest.raises(FloatingPointError, match="step 2: "):
        ward.watch(fault, small, seed=0, steps=3)


# The rule -----------------------------------------------------------------------------------------


def traces(**changes):
    """A run in which nothing happens, with changes."""
    flat = {name: [1.0] * 20 for name in ward.TRACES[:3]}
    flat |= {name: [1.0] * 11 for name in ward.TRACES[3:]}
    ends = {"start": 7.0, "early": [0.1] * 4, "late": [0.1] * 4, "exam": [1.0] * 16}
    return {**flat, **ends, "pronoun": 0.5, **changes}


def test_how_far_a_reading_lies_outside_is_counted_in_widths_of_the_band():
    health = fingerprints.bands([traces(start=s) for s in (7.0, 7.1, 7.2)])
    assert health["the validation loss before the first step"].width == pytest.approx(0.2)
    for start, by in ((7.1, 0), (7.3, 0.5), (7.6, 2), (6.8, 1)):
        gauge, found = fingerprints.from_health(
            fingerprints.fingerprint(traces(start=start)), health
        )
        assert found == pytest.approx(by, abs=1e-9)
        assert by == 0 or gauge.name == "the validation loss before the first step"
    band = fingerprints.Band(1.0, 1.2, 0.2)
    assert [band.beyond(value) for value in (1.0, 1.1, 1.2)] == [0, 0, 0]
    # A band of seeds that happen to agree is not believed to have no width.
    assert health["the exam"].width == 0.02


def test_a_fingerprint_reads_each_place_by_its_name():
    """A run whose numbers are all other ones, read by hand; lengths as logarithms."""

    def grows(*powers):
        return [math.exp(power) for power in powers]

    ends = {"start": 7.0, "pronoun": 0.25, "early": grows(1, 2, 3, 4), "late": grows(5, 6, 7, 8)}
    losses = {"train": [float(n) for n in range(20)], "exam": [float(n) for n in range(16)]}
    losses["val"] = [50.0 - n for n in range(19)] + [40.0]  # down to 32, and up again
    lengths = {"grad_norm": grows(*range(20)), "table": grows(*range(0, -11, -1))}
    lengths["blocks"] = grows(*(n / 10 for n in range(11)))
    whole = {
        "the validation loss before the first step": 7,
        "the training loss in the first ten steps": 0,
        "the training loss half-way": 9,
        "the training loss at the end": 19,
        "the validation loss at the end": 40,
        "the exam": 7.5,
        "the validation loss less the training loss": 40 - 19,
        "the exam less the validation loss": 7.5 - 40,
        "the climb of the validation loss": 40 - 32,
        "the ups and downs of the training loss": 7,  # seven steps of 1 between the last eight
        "the pronouns that are right": 0.25,
    }
    for name, values in (
        ("the gradient norm", (0, 9, 19)),
        ("the update ratio of the token table", (0, -5, -10)),
        ("the update ratio of the blocks", (0, 0.5, 1)),
    ):
        whens = ("at the start", "half-way", "at the end")
        whole |= {f"{name} {when}": value for when, value in zip(whens, values, strict=True)}
    for i in range(4):
        whole[f"the update ratio of block {i} in step 10"] = i + 1
        whole[f"the update ratio of block {i} at the end"] = i + 5
        whole[f"the loss at places {4 * i + 1} to {4 * i + 4}"] = 4 * i + 1.5
    found = fingerprints.fingerprint(traces(**ends, **losses, **lengths))
    assert found == pytest.approx(whole)


def test_each_gauge_reads_what_it_is_called():
    row = [1.0] * 20
    spiked = fingerprints.fingerprint(traces(grad_norm=[*row[:9], 4.0, *row[10:]]))
    flat = fingerprints.fingerprint(traces())
    changed = {name for name in flat if flat[name] != spiked[name]}
    assert changed == {"the gradient norm half-way"}
    assert spiked["the gradient norm half-way"] == pytest.approx(math.log(4))
    frozen = fingerprints.fingerprint(traces(blocks=[0.0] * 11))
    assert frozen["the update ratio of the blocks at the end"] == math.log(1e-6)
    climbs = fingerprints.fingerprint(traces(val=[*row[:10], 0.5, *row[11:]]))
    assert climbs["the climb of the validation loss"] == 0.5
    assert len(flat) == len(fingerprints.GAUGES) == len({g.name for g in fingerprints.GAUGES})


def test_the_gauge_that_separates_is_the_one_in_which_the_nearest_of_the_others_is_far():
    health = fingerprints.bands([traces()])
    mine, *others = (
        fingerprints.fingerprint(traces(start=s, pronoun=p))
        for s, p in ((8.0, 0.5), (7.0, 0.5), (8.0, 0.9), (7.5, 0.7))
    )
    ways = fingerprints.from_others(mine, others[:1], health)
    assert ways[0][0].name.endswith("the first step")
    assert [gauge.panel for gauge, _ in ways[:1]] == ["loss"] and len(ways) == 4
    gauge, by = fingerprints.from_others(mine, others[1:2], health)[0]
    assert gauge.name.startswith("the pronouns") and by == pytest.approx(8)
    gauge, by = fingerprints.from_others(mine, others[::2], health)[0]
    assert gauge.name.endswith("the first step") and by == pytest.approx(0.5 / 0.03)


# Patients -----------------------------------------------------------------------------------------


def test_a_seed_deals_a_patient_and_all_that_are_told_from_health_are_dealt():
    numbers = foundry.dealt()
    assert [bug(seed)._number for seed in range(len(numbers) + 2)] == numbers + numbers[:2]
    assert bug(3).traces == bug(3).traces
    known = record("foundry")["patients"]
    assert all(draw(int(n)).told == patient["fault"] for n, patient in known.items())
    # Told from health is who lies outside of a band by more than one and a half times its width.
    far = {n: fingerprints.from_health(found, foundry.health())[1]
           for n, (_, found) in foundry.recorded().items()}  # fmt: skip
    assert {n for n in far if far[n] > 1.5} == set(numbers)
    assert len(numbers) + len(foundry.kept_out()) == len(known)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number, 0 or more; got "):
        bug(seed)
    with pytest.raises(ValueError, match="fresh must be True or False; got 1"):
        bug(0, fresh=1)


def test_a_patient_gives_nothing_away_before_it_is_asked():
    patient = bug(0)
    assert draw(foundry.dealt()[0]).kind.name not in repr(patient) + str(patient.traces["train"])
    assert len(patient.choices()) == len(KINDS) and "no mask" in patient.choices()


def test_a_right_guess_names_the_place_the_neighbour_and_the_lines(capsys):
    for seed, number in enumerate(foundry.dealt()):
        patient, fault = bug(seed), draw(number)
        patient.guess(f"  {fault.kind.name.upper()} ")
        lines = capsys.readouterr().out.split("\n")
        assert lines[0] == f"Right. {fault.told}."
        assert lines[1].startswith("Its nearest neighbour is '") and " in health." in lines[2]
        assert fault.kind.name not in re.findall("'(.*?)'", lines[1] + lines[2])
        assert any(line.startswith("gptlib/") for line in lines[3:5])


def test_a_wrong_guess_is_told_in_which_gauge_the_difference_lies_and_not_the_answer(capsys):
    names = {gauge.name for gauge in fingerprints.GAUGES}
    said = re.compile(
        r"  (.*): (the .*) is (\S+); (\S+|\S+ to \S+) in the [23] recorded patients "
        r"with '(.*)', (\S+|\S+ to \S+) in health\."
    )
    for seed, number in enumerate(foundry.dealt()):
        mine, patient = draw(number).kind.name, bug(seed)
        for kind in faults.NAMES:
            if kind == mine:
                continue
            patient.guess(kind)
            out = capsys.readouterr().out
            first, *lines = out.rstrip("\n").split("\n")
            assert first == f"Not {kind!r}. What separates them best:"
            found = [said.fullmatch(line) for line in lines[:2]]
            assert found[0] and {match[5] for match in found if match} == {kind}, out
            told = [match for match in found if match]
            assert len({match[1] for match in told}) == len(told) and lines[len(told) + 1 :] == []
            assert all(match[2] in names for match in told)
            for match in told:
                out = out.replace(match[1], "").replace(match[2], "")
            assert mine not in out.replace(kind, "")


def test_what_a_wrong_guess_is_told_is_true():
    """The reading here lies outside of the other kind's readings, wherever that is claimed."""
    health = foundry.health()
    for number, (_, found) in foundry.recorded().items():
        for other in faults.NAMES:
            prints = [f for n, (k, f) in foundry.recorded().items() if k == other and n != number]
            gauge, by = fingerprints.from_others(found, prints, health)[0]
            nearest = min(abs(found[gauge.name] - f[gauge.name]) for f in prints)
            assert nearest == pytest.approx(by * health[gauge.name].width)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no masks", r"got 'no masks'. Did you mean 'no mask'"),
        ("softmax", "Did you mean 'softmax twice'"),
        ("gravity", "must be one of patient.choices\\(\\); got 'gravity'."),
        (3, "in quotes; got 3"),
        (None, "in quotes; got None"),
    ],
)
def test_a_guess_that_is_no_choice_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        bug(0).guess(name)


def test_who_gives_up_is_told_the_fault_and_what_shows_it(capsys):
    bug(0).reveal()
    out = capsys.readouterr().out
    assert out.startswith(draw(foundry.dealt()[0]).told)
    assert re.search(r"What shows it best, .*: the .* is .* by \S+ times its width\.", out)


def test_the_picture_has_its_gauges_in_words(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(plots, "show", lambda fig, alt: shown.append((fig, alt)))
    for seed in range(0, len(foundry.dealt()), 10):
        bug(seed).show()
        fig, alt = shown.pop()
        titles = tuple(ax.get_title(loc="left") for ax in fig.axes)
        assert titles == fingerprints.PANELS
        assert all(ax.get_legend() for ax in fig.axes)
        losses = {line.get_label(): line.get_xydata() for line in fig.axes[0].lines}
        ((at, exam),) = losses.pop("exam")  # a star beside the end of the run
        assert at == 205 and exam == pytest.approx(sum(bug(seed).traces["exam"]) / 16)
        low, high = fig.axes[0].get_ylim()
        assert low == 0 and high >= max(8, exam, *bug(seed).traces["train"])
        assert "band of 16 healthy runs in grey" in alt and "The exam ends at " in alt
        assert f"{bug(seed).traces['exam'][0]:.2g}" in alt
        lines = capsys.readouterr().out.split("\n")
        assert lines[0].startswith("pronouns right in the exam: ") and len(lines) == 4
        plots._close(fig)


def test_a_fresh_patient_is_trained_here_and_dealt_only_where_it_is_told_from_health(
    monkeypatch, capsys
):
    """The healthy-looking one is put back, the one that breaks down too, the third is dealt."""
    known = record("foundry")
    sick = known["patients"][str(foundry.dealt()[0])]
    calls = []

    def watch(fault, ward, seed, progress):
        calls.append((fault, seed))
        assert progress
        if len(calls) == 2:
            raise FloatingPointError("step 7")
        return sick if len(calls) == 3 else known["unused"]["16"]

    monkeypatch.setattr(ward, "Ward", lambda: None)
    monkeypatch.setattr(ward, "watch", watch)
    patient = bug(4, fresh=True)
    assert isinstance(patient, Patient) and patient.traces == sick and len(calls) == 3
    assert patient._fault == calls[-1][0] and len({seed for _, seed in calls}) == 3
    assert min(seed for _, seed in calls) > max(map(int, known["patients"])) + 1000
    out = capsys.readouterr().out
    assert out.index("seconds") < out.index("looks healthy") < out.index("broke down in step 7")
    dealt = {foundry.recorded()[n][0] for n in foundry.dealt()}
    assert {fault.kind.name for fault, _ in calls} <= dealt
    patient.guess(patient._fault.kind.name)
    assert capsys.readouterr().out.startswith("Right. ")
