"""The bug foundry: programs drawn by a seed, each with one fault, run and watched.

Claim: of what the foundry draws, a patient is dealt out only where one of its gauges lies outside
the band of sixteen healthy seeds by more than one and a half times the band's width. Of twenty
other healthy seeds none does; eight of these were run after gauges and rule had been chosen.

    python experiments/foundry.py              # half an hour; writes data/runs/foundry.json
    python experiments/foundry.py --resume     # only what is not recorded yet

The program is `gptlib/exercises/program.py`, the faults `gptlib/exercises/fault_table.py`. Patient
n has the fault `draw(n)` and the seed 1000 + n, so that three times as many patients as kinds are
three of each. What is recorded of a run is what `gptlib.exercises.ward` says.
"""

from __future__ import annotations

from functools import partial

from recording import Rehearsal, arguments, begin, few, fill

from gptlib.exercises.faults import KINDS, draw
from gptlib.exercises.program import RECIPE
from gptlib.exercises.ward import EVERY, Ward, watch

REFERENCES, UNUSED = range(16), range(16, 36)
PATIENTS = range(3 * len(KINDS))
FIRST_SEED = 1000  # of the patients; the healthy ones are below it


def patient(number: int, ward: Ward) -> dict:
    """One drawn patient: which fault it has, and its traces."""
    fault = draw(number)
    traces = watch(fault, ward, FIRST_SEED + number, Rehearsal.steps)
    return {"fault": fault.told, **traces}


def said(result: dict) -> str:
    """The fault, and where the run ended: training, validation, gradient, exam."""
    last = [result[part][-1] for part in ("train", "val", "grad_norm", "blocks", "exam")]
    return " ".join([result.get("fault", "healthy"), *(f"{value:.3g}" for value in last)])


def main() -> None:
    args = arguments("foundry", __doc__)
    ward = Ward(few(RECIPE.steps * RECIPE.batch_size, 300), few(100, 20))
    record = begin(args) | {
        "every": few(EVERY, 1),
        "steps": few(RECIPE.steps, 2),
        "floor": ward.floor,
        "val_floor": ward.val_floor,
    }
    jobs = {
        **{
            (part, str(seed)): partial(watch, None, ward, seed, Rehearsal.steps)
            for part, seeds in (("healthy", REFERENCES), ("unused", UNUSED))
            for seed in few(seeds, 2)
        },
        **{("patients", str(n)): partial(patient, n, ward) for n in few(PATIENTS, 4)},
    }
    units = "losses: nats per token; table, blocks: length of an update over the weights'"
    fill(args, record, jobs, said, units=units)


if __name__ == "__main__":
    main()
