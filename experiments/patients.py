"""The symptom lab on tape: its faults step by step, with all that a training scrubber shows.

No claim of its own: the runs are those of symptoms.py, seed 0, in which each fault is told from
every other one. Here each is looked at from closer by, at fewer steps, to be played.

    python experiments/patients.py              # five quiet minutes; writes data/runs/patients.json
    python experiments/patients.py --resume     # only what is not recorded yet

Recorded for each run, as `gptlib.widgets.Tape` does: the training loss (mean of the last ten
batches), the validation loss as the faulty program measures it, gradient norms, update ratios and
histograms by layer, the attention of two heads for the beginning of an exam story, and how the
model goes on with it. At the end the exam, scored rightly on a hundred unseen stories.
"""

from __future__ import annotations

from functools import partial

import torch
from recording import arguments, begin, fill
from symptoms import CONFIG, RIDDLES, RUNS_OF_THE_LAB, STEPS, Healthy, Lab, TrialRun

from gptlib import corpus
from gptlib.given.models import evaluating
from gptlib.widgets.tape import Tape

BEGIN = 8  # of an exam story's tokens, then the model goes on
# Closer together at the start, and around the one batch of garbage in step 155.
AT = (0, 10, 20, 30, 40, 50, 75, 100, 125, 150, 154, 155, 156, 160, 175, 200, 250, STEPS)
HEADS = ("block 0, head 1", "block 2, head 1")


def run(kind: type[Healthy], lab: Lab) -> dict:
    """One short run with seed 0, on tape."""
    trial = kind(lab, seed=0)
    torch.manual_seed(trial.training.seed)
    model = trial.model()
    training = TrialRun(trial, model)
    at = {min(step, trial.training.steps) for step in AT}
    prompt = lab.tokenizer.decode(lab.exam.idx[0, 1 : BEGIN + 1].tolist())
    end, longest = lab.tokenizer.special_tokens[corpus.END], CONFIG.context_length
    tape = Tape(lab.tokenizer, prompt, at, max_new_tokens=longest - BEGIN - 1, stop=end)
    tape(0, model, {"val_loss": trial.evaluate(model)})
    for step in range(1, trial.training.steps + 1):
        metrics = training.update()
        if step in at:
            metrics["val_loss"] = trial.evaluate(model)
        tape(step, model, metrics)
    with torch.no_grad(), evaluating(model):
        exam_loss = model(lab.exam.idx, lab.exam.targets)[1].item()
    return {**tape.run(HEADS), "exam": exam_loss}


def said(result: dict) -> str:
    """Where a run ended, and what it writes then."""
    return f"{result['val'][-1]:.3g}, exam {result['exam']:.3g}: {result['text'][-1]}"


def main() -> None:
    args = arguments("patients", __doc__, ["healthy", *RIDDLES])
    lab = Lab()
    record = begin(args) | {"floor": lab.validation.floor, "riddles": RIDDLES}
    names = args.names or ["healthy", *RIDDLES]
    jobs = {("runs", name): partial(run, RUNS_OF_THE_LAB[name], lab) for name in names}
    units = "losses: nats per token; updates: length of an update over the weights'"
    fill(args, record, jobs, said, units=units)


if __name__ == "__main__":
    main()
