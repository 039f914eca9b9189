"""nbval over a notebook as `python -m pytest` runs it, and what the cells have shown is kept.

    python tests/keeping.py executed.ipynb chapter.ipynb [words for pytest]

nbval reads what the kernel says, compares, and forgets it. Here nbclient's own code hears the same
messages and makes outputs and widgets' states of them, as where the book executes a chapter. Needs
pytest, nbval and nbclient, and nothing of ours: it runs where gptlib comes from its wheel.
"""

# ruff: noqa: E402 (what is kept out stands before the imports)

from __future__ import annotations

import sys
from pathlib import Path

sys.modules["rfc3987_syntax"] = None  # see book/tools/addresses.py

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbval.plugin import coalesce_streams


class Keeping:
    """A plugin of pytest that listens while nbval runs the cells of one notebook."""

    def __init__(self, target: Path):
        self.target, self.client, self.count = target, None, 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        if self.client is None:
            self._begin(item.parent)
        code = [pair for pair in enumerate(self.client.nb.cells) if pair[1].cell_type == "code"]
        index, cell = code[item.cell_num]
        self._listen(item.parent, cell, index)
        result = yield
        cell.outputs = coalesce_streams(cell.outputs)
        # nbval has the kernel count nothing; counted is as where a reader runs all cells.
        self.count += bool(cell.source.strip())
        cell.execution_count = self.count if cell.source.strip() else None
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = self.count
        return result

    def _begin(self, file) -> None:
        notebook = nbformat.read(file.path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        about = file.kernel.kc.kernel_info(reply=True, timeout=60)["content"]
        notebook.metadata.language_info = about["language_info"]
        self.client = NotebookClient(notebook, record_timing=False)
        self.client.reset_execution_trackers()

    def _listen(self, file, cell, index: int) -> None:
        """Hand each message about this cell's run to nbclient as nbval reads it."""
        self.client.clear_before_next_output = False
        asked, answered = file.kernel.kc.execute, file.kernel.get_message
        began = []

        def execute(*words, **settings):
            began.append(asked(*words, **settings))
            return began[-1]

        def get_message(stream, timeout=None):
            message = answered(stream, timeout=timeout)
            if stream == "iopub" and message["parent_header"].get("msg_id") in began:
                try:
                    self.client.process_message(message, cell, index)
                except CellExecutionComplete:
                    del file.kernel.kc.execute, file.kernel.get_message
            return message

        file.kernel.kc.execute, file.kernel.get_message = execute, get_message

    def pytest_sessionfinish(self):
        if self.client is not None:
            self.client.set_widgets_metadata()
            nbformat.write(self.client.nb, self.target)


if __name__ == "__main__":
    target, *words = sys.argv[1:]
    sys.exit(pytest.main(words, plugins=[Keeping(Path(target).absolute())]))
