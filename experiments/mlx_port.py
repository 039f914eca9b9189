"""What does MLX give for the book's GPT: logits, a text, twenty steps of training?

Claim: with the recorded weights the logits of MLX lie within 0.0001 of PyTorch's, and each library
alone lies as far from float64; a wrong form of GELU lies a thousand times farther out. From the
same weights and on the same batches each loss of twenty steps is PyTorch's within 0.0001; without
the correction of AdamW's averages, which MLX leaves out unless it is asked for it, it is not.

    python experiments/mlx_port.py   # half a minute; writes data/runs/mlx_port.json

Recorded: what each cell of appendix B gives that asks for MLX, by the name it has there, made by
the cells themselves. The appendix shows it where there is no MLX. Losses are in nats per token, the
clock in seconds.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib
from recording import Rehearsal, arguments, save

APPENDIX = Path(__file__).resolve().parent.parent / "chapters" / "b1_mlx.ipynb"


def measured(path: Path = APPENDIX) -> dict[str, Any]:
    """What the cells of a notebook put into its `measured`; a rehearsal trains for fewer steps."""
    space: dict[str, Any] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
        if Rehearsal.steps is not None:
            source = source.replace("steps=20, ", f"steps={Rehearsal.steps}, ")
            source = source.replace("warmup_steps=5, ", "")
        exec(compile(source, f"{path.name}, {cell.get('id')}", "exec"), space)
        if space.get("mx", ...) is None:
            raise SystemExit("there is no MLX here to record.")
    return json.loads(json.dumps(space["measured"]))  # lists where there were tuples


def main() -> None:
    args = arguments("mlx_port", __doc__, resume=False)
    matplotlib.use("agg")
    units = "losses: nats per token; clock: seconds; the rest: see the cells of appendix B"
    save(args, measured(), units=units, mlx=metadata.version("mlx"))


if __name__ == "__main__":
    main()
