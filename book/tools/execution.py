"""Run a notebook with the running environment's own kernel, and say in words where it fails."""

from __future__ import annotations

import os
from pathlib import Path

from anyio.from_thread import start_blocking_portal
from chapterfiles import ROOT, ChapterError, place
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets import default

PROFILE = ROOT / "_build" / ".ipython"
TIMEOUT = 900  # seconds for one cell
LESS = "c.IPKernelApp.log_level = 40\n"


class ThisPython(AsyncKernelManager):
    """Starts the running Python's ipykernel, whatever kernels called "python3" the user has."""

    @default("kernel_spec_manager")
    def _no_installed_kernels(self):
        return KernelSpecManager(kernel_dirs=[])


SLOWER = "ignore:Guards may run slower on Python 3.13.0:RuntimeWarning"


def kernel_environment() -> dict[str, str]:
    """The environment for running chapters: this one, without the user's own start-up files."""
    profile = PROFILE / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    # Warnings of the kernel itself, such as how it is connected, say nothing about a chapter.
    (profile / "ipython_kernel_config.py").write_text(LESS, encoding="utf-8")
    # Figures look the same whatever the user prefers.
    (PROFILE / "matplotlibrc").write_text("", encoding="utf-8")
    ours = {
        "IPYTHONDIR": str(PROFILE),
        "MATPLOTLIBRC": str(PROFILE / "matplotlibrc"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "GPTLIB_FIGURES": "bare",  # the book gives pictures their words itself
        "PYTHONPATH": str(ROOT),  # a copied environment may know another copy's gptlib
        # What torch says of this one Python when it compiles is no part of a chapter's output.
        "PYTHONWARNINGS": ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), SLOWER])),
    }
    return {**os.environ, **ours}


async def executing(notebook, path: Path, folder: Path | None = None) -> None:
    """Run all cells of the notebook read from `path`, in its folder or another; keep the outputs.

    With one thread, so that chapters may run side by side and no sum depends on the computer's
    cores. Raises ChapterError, which names the cell that failed and why.
    """
    reached = {}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        record_timing=False,  # times would be a part of what the notebook is found by
        # What a cell prints piece by piece becomes one piece, as JupyterLab shows it. Otherwise
        # the page's own merging puts each piece on a line of its own.
        coalesce_streams=True,
        kernel_name="python3",
        kernel_manager_class=ThisPython,
        on_cell_execute=lambda cell, cell_index: reached.update(cell=cell),
        resources={"metadata": {"path": str(folder or path.parent)}},
    )
    try:
        await client.async_execute(env={**kernel_environment(), "OMP_NUM_THREADS": "1"})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        reason = {
            CellTimeoutError: f"it ran for more than {TIMEOUT} seconds",
            DeadKernelError: "Python itself ended there, perhaps for want of memory",
        }.get(type(error)) or f"{error.ename}: {error.evalue}"
        raise ChapterError(f"{place(path, notebook, reached['cell'])}: {reason}") from error


def execute(notebook, path: Path) -> None:
    """`executing`, waited for. Ctrl-C ends the kernel, too: the portal cancels what it runs."""
    with start_blocking_portal() as portal:
        portal.call(executing, notebook, path)
