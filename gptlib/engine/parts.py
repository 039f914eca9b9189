"""A checkpoint to which each process writes its own part of the model, and none ever has it whole.

Given, not built.

    shard-00001-….safetensors   of each process its pieces of the weights and of AdamW's averages
    run.safetensors             AdamW's steps and random numbers
    and the same config.json, tokenizer.json, run.json and manifest.json as in any checkpoint
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import save

import gptlib
from gptlib.checkpoint import write_json, write_tensors
from gptlib.engine.processes import Processes
from gptlib.given.checks.saved import check_finite_weights
from gptlib.given.folders import replacing_folder
from gptlib.given.run_state import AVERAGES, averages, description
from gptlib.given.shards import FORMAT, SMALL


def save_in_parts(path: Path, group: Processes, run: Any, tokenizer: Any) -> None:
    """Write a run whose model is in parts; all processes call it, and see the same folder.

    It is there whole or not at all, as after `save_checkpoint`.

    Errors: ValueError for weights with nan or inf; OSError where one of them cannot write.
    """
    tensors = check_finite_weights(run.model)
    kept = averages(run.model, run.optimizer)
    step = f".{AVERAGES[0]}"
    tensors |= {f"optimizer/{name}": t for name, t in kept.items() if not name.endswith(step)}
    versions = {"gptlib": gptlib.__version__, "torch": torch.__version__}
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of torch's, about its own storage

        def begin() -> Path:
            return stack.enter_context(replacing_folder(path, format=FORMAT, **versions))

        def finish() -> None:
            told = run.state_dict()
            small = {n: t for n, t in told.pop("optimizer").items() if n.endswith(step)}
            small = {f"optimizer/{name}": t for name, t in small.items()}
            small |= {f"random/{name}": t for name, t in told.pop("random").items()}
            write_tensors(folder / SMALL, small)
            write_json(folder / "run.json", told)
            write_json(folder / "config.json", description(run.model))
            tokenizer.save(folder / "tokenizer.json")
            stack.close()  # which writes the manifest, and puts the folder in its place

        folder = group.first_does(begin)
        try:
            save(
                tensors,
                storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
            )
        except CheckpointException as error:
            raise OSError(f"{path} could not be written: {error}") from error
        group.first_does(finish)
