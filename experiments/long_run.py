"""Four times as long: how well formed do the book's stories become?

Claim: with nearly four times the steps, and a learning rate that ends lower, the GPT of 303,680
parameters writes stories at temperature 0.8 of which at least 95 % are well formed, and new.

    python experiments/long_run.py       # about ten quiet minutes; writes data/runs/long_run.json

Recorded along training: loss beside the floor (nats per token, on 400 stories that no model saw),
accuracy by skill, and the well-formed share of 200 stories. At the end 400 stories for each of
three sampling seeds. The run goes on where it was stopped (runs/long_run.pt).
"""

from __future__ import annotations

from recording import CHECKPOINTS, CONFIG, arguments, columns, exam, few, learn, prepare, save
from writing import judged, sampled, write

from gptlib.gpt import GPT
from gptlib.training import TrainConfig

TRAINING = TrainConfig.preset("stories", steps=12_000, min_lr_ratio=0.01, eval_every=1000)
TEMPERATURE = 0.8
SAMPLES = {"temperature": TEMPERATURE, "stories": 400, "seeds": [1, 2, 3]}


def main() -> None:
    args = arguments("long_run", __doc__, resume=False)
    prepared = prepare()
    tokenizer, key = prepared.tokenizer, prepared.key

    def evaluate(model: GPT) -> dict:
        score = exam(key)(model)
        texts = write(model, tokenizer, few(200), seed=0, temperature=TEMPERATURE)
        share = judged(texts)["well_formed"]
        print(f"loss {score['val_loss']:.4f}, well formed {share:.1%}", flush=True)
        return {**score, "well_formed": share}

    checkpoint = CHECKPOINTS / "long_run"
    model, history = learn(lambda: GPT(CONFIG), prepared, TRAINING, evaluate, checkpoint)
    judgements = sampled(
        model, tokenizer, few(SAMPLES["stories"]), few(SAMPLES["seeds"]),
        "well_formed new distinct broken", temperature=TEMPERATURE,
    )  # fmt: skip
    record = {
        "parameters": model.num_parameters(),
        "recipe": {k: getattr(TRAINING, k) for k in ("steps", "batch_size", "lr", "min_lr_ratio")},
        "floor": key.floor,
        **columns(history, key),
        "well_formed": history.column("well_formed"),
        "skills": history[-1]["skills"],
        "samples": SAMPLES | judgements,
    }
    units = "loss, floor: nats per token; well_formed, new, distinct: shares; seconds: training"
    save(args, record, units=units)
    print(record["above_floor"], record["samples"])


if __name__ == "__main__":
    main()
