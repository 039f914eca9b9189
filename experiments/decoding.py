"""How to choose the next token: the same model's stories as temperature, top-k and top-p change.

Claim: greedy tells one story; low temperatures tell well-formed stories that resemble one another,
high ones tell different stories that fall apart, and top-p at 0.9 gives back most of both.

    python experiments/decoding.py             # about seven quiet minutes; writes
                                              # data/runs/decoding.json
    python experiments/decoding.py --resume    # only the settings that are not recorded yet

The model is the book's: GPTConfig and TrainConfig "stories", seed 0, trained here if
runs/decoding.pt is not there. Its weights go to data/runs/stories.safetensors, as 16-bit numbers,
so that chapter 8 can go on with it. Recorded for each setting and each of three sampling seeds,
over 200 stories: the share that is well formed, that is new, the different texts (all shares of
200), and how many plots and names the well-formed ones are worth (e to the entropy; true stories:
12 and 36). Then what happens if nothing stops the model at the end of a story.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from recording import CHECKPOINTS, CONFIG, Prepared, arguments, begin, few, learn, prepare, save
from safetensors.torch import save_model
from writing import judged, known, sampled, write

from gptlib import corpus
from gptlib.corpus.scoring import end_id
from gptlib.generation import generate
from gptlib.given.files import replacing
from gptlib.gpt import GPT
from gptlib.training import TrainConfig

SEEDS = (1, 2, 3)
N = 200
KNOBS = ("temperature", "top_k", "top_p")
SETTINGS = [{"temperature": t} for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5)]
SETTINGS += [{"top_k": k} for k in (1, 2, 3, 5, 10, 20, 50)]
SETTINGS += [{"top_p": p} for p in (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)]
SETTINGS += [{"temperature": 1.5, "top_p": 0.9}, {"temperature": 1.5, "top_k": 20}]
SETTINGS += [{"temperature": 0.8, "top_p": 0.95}]


def trained(prepared: Prepared, weights: Path) -> GPT:
    """The book's model after the book's two minutes, and its weights in a file."""
    config = TrainConfig.preset("stories", eval_every=500)
    checkpoint = CHECKPOINTS / "decoding"
    model, _ = learn(lambda: GPT(CONFIG), prepared, config, checkpoint=checkpoint)
    weights.parent.mkdir(parents=True, exist_ok=True)
    with replacing(weights) as temporary:
        save_model(deepcopy(model).half(), str(temporary))  # half the bytes, the same stories
    return model


def without_stop(model: GPT, tokenizer, rows: int = 60, tokens: int = 380) -> list[float]:
    """The well-formed share of the first, second, third story where nothing stops the model."""
    idx = torch.full((few(rows), 1), end_id(tokenizer))
    generator = torch.Generator().manual_seed(1)
    out = generate(model, idx, few(tokens, 20), temperature=0.8, generator=generator)
    shares: list[list[bool]] = [[], [], []]
    for row in out[:, 1:].tolist():
        parts = tokenizer.decode(row).split(corpus.END)[:-1]  # what stands behind is unfinished
        for place, part in zip(shares, parts, strict=False):
            place.append(corpus.judge(part or "?").well_formed == 1)
    return [
        {"stories": len(place), "well_formed": sum(place) / max(1, len(place))} for place in shares
    ]


def main() -> None:
    args = arguments("decoding", __doc__)
    prepared = prepare()
    tokenizer, key = prepared.tokenizer, prepared.key
    model = trained(prepared, args.out.with_name("stories.safetensors"))
    record = {"settings": []} | begin(args) | {"seeds": list(few(SEEDS)), "stories": few(N)}
    units = "well_formed, new, distinct: shares of the stories; plots, names: options"
    columns = "well_formed new distinct plots names broken"
    done = [{k: one[k] for k in KNOBS if k in one} for one in record["settings"]]
    for settings in SETTINGS:
        if settings in done:
            continue
        result = settings | sampled(model, tokenizer, few(N), few(SEEDS), columns, **settings)
        record["settings"].append(result)
        save(args, record, units=units)
        print(settings, result["well_formed"], result["distinct"], result["plots"], flush=True)
    true = judged([story.text for story in corpus.stories(few(N), seed=4)])
    record["true"] = {name: true[name] for name in ("well_formed", "distinct", "plots", "names")}
    record |= {"loss": key.score(model).loss, "floor": key.floor, "known": len(known())}
    record["greedy"] = write(model, tokenizer, 1, 0, temperature=0)[0]
    record["without_stop"] = without_stop(model, tokenizer)
    save(args, record, units=units)
    print(record["greedy"], record["without_stop"], record["true"])


if __name__ == "__main__":
    main()
