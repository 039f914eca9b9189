"""How fast the GPT in the page writes, beside the arithmetic rate of the page's own matrix product.

    python book/tasks.py bench page_speed

The book's model under node, on one thread, and processor time throughout, so that a busy machine
changes little. Three rates in turn: tokens that `stream` of gpt.js writes; the products of its
matrices alone, one row at a time as a new token needs them (`share_of_product` compares with
these); and 64 rows at a time (`share_of_best`), the most that this product reaches. What is missing
to 1 is what is not matrix product: attention, norms, the draw. The target is 1,000 tokens a second.
Beside it the exam that the page sets, in seconds; and, in turns, the same model out of files of 32,
16 and 8 bits: bytes, milliseconds to read one, and tokens a second. The page makes 32 bits of
whatever it reads, so 8 bits bring a shorter file and nothing else.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from gptlib import corpus
from gptlib.given.files import write_text
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer
from gptlib.widgets.model_file import model_bytes
from gptlib.widgets.story_key import answer_key

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "book" / "tools"))
from mathset import node_program  # noqa: E402 # the book's own tool

RESULT = HERE / "results" / "page_speed.json"
PRELUDE = """
import { readFileSync } from "node:fs";
const [folder, length] = process.argv.slice(1);
const module = (name) => import(folder + "/" + name);
const { readModel } = await module("model_file.js");
const { ready } = await module("reader.js");
const { matmul, stream } = await module("gpt.js");
const seconds = async (work) => {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
};
const all = readFileSync(0);
const given = JSON.parse(all.subarray(0, Number(length)).toString());
"""
SCRIPT = """
const { AnswerKey } = await module("answer_key.js");
const { papers, sit } = await module("exam.js");
const { fastGPT } = await module("fast_gpt.js");
const { config, vocabulary, model } = ready(readModel(all.subarray(Number(length))));
const inBlock = ({ attention, feed_forward }) =>
  [attention.qkv, attention.project, feed_forward.expand, feed_forward.project];
const linears = [...model.blocks.flatMap(inBlock), model.head];
const flops = 2 * linears.reduce((sum, { weight }) => sum + weight.length, 0); // of one token
const product = (T, times) => {
  for (let k = 0; k < times; k++) {
    for (const { weight, n_in, n_out } of linears) {
      matmul(new Float32Array(T * n_in).fill(0.5), weight, T, n_in, n_out);
    }
  }
};
const write = () => [...stream(model, [vocabulary.end], given.tokens, { temperature: 0.8 })].length;
product(1, 50); product(64, 2); write(); // compiled before the clock starts
const rounds = [];
for (let k = 0; k < given.rounds; k++) {
  rounds.push({
    tokens: given.tokens / await seconds(write),
    one: flops * given.tokens / await seconds(() => product(1, given.tokens)),
    best: flops * 640 / await seconds(() => product(64, 10)),
  });
}
const key = new AnswerKey({ ...given.key, exam: { ...given.key.exam, places: given.places } });
const sheets = papers(key, vocabulary, config.context_length);
const exam = await seconds(() => sit(fastGPT(model), sheets));
console.log(JSON.stringify({ flops, rounds, exam, stories: sheets.length, node: process.version }));
"""
FILES = """
let at = Number(length);
const found = {}, models = {};
for (const [name, size] of Object.entries(given.sizes)) {
  models[name] = all.subarray(at, at + size);
  found[name] = { read: [], tokens: [] };
  at += size;
}
for (let k = -1; k < given.rounds; k++) {
  for (const [name, bytes] of Object.entries(models)) {
    let made;
    const read = await seconds(() => (made = ready(readModel(bytes))));
    const { vocabulary, model } = made, how = { temperature: 0.8 };
    const write = () => [...stream(model, [vocabulary.end], given.tokens, how)].length;
    const wrote = await seconds(write);
    if (k >= 0) found[name].read.push(1000 * read), found[name].tokens.push(given.tokens / wrote);
  }
}
console.log(JSON.stringify(found));
"""


def asked(script: str, given: dict[str, Any], files: bytes) -> Any:
    """What a script under node says of the files."""
    said = json.dumps(given).encode()
    folder = (HERE.parent / "gptlib" / "widgets").as_uri()
    words = ["--input-type=module", "--eval", PRELUDE + script, folder, str(len(said))]
    answer = subprocess.run([node_program(), *words], input=said + files, capture_output=True)
    if answer.returncode:
        raise SystemExit(answer.stderr.decode())
    return json.loads(answer.stdout)


def by_file(model: GPT, tokenizer: BPETokenizer, rounds: int, tokens: int) -> dict[str, Any]:
    """Bytes, milliseconds to read, and tokens a second, of files of 32, 16 and 8 bits."""
    files = {n: model_bytes(model, tokenizer, n) for n in ("float32", "float16", "int8")}
    sizes = {name: len(data) for name, data in files.items()}
    given = {"rounds": rounds, "tokens": tokens, "sizes": sizes}
    return {
        name: {
            "bytes": sizes[name],
            "read_ms": round(statistics.median(one["read"]), 2),
            "tokens_per_second": round(statistics.median(one["tokens"])),
        }
        for name, one in asked(FILES, given, b"".join(files.values())).items()
    }


def measure(rounds: int, tokens: int, places: int) -> dict[str, Any]:
    """Run all of it in one node and return what goes into the JSON file."""
    text = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(text, 1536, special_tokens=[corpus.END])
    model = GPT(GPTConfig.preset("stories"))
    load_recorded(model, "stories")
    given = {"rounds": rounds, "tokens": tokens, "places": places, "key": answer_key()}
    got = asked(SCRIPT, given, model_bytes(model, tokenizer))
    middle = {
        name: statistics.median(one[name] for one in got["rounds"])
        for name in ("tokens", "one", "best")
    }
    rate = got["flops"] * middle["tokens"]
    return {
        "claim": "the GPT in the page writes at least 1,000 tokens in a second of one core",
        "tokens_per_second": round(middle["tokens"]),
        "target": 1000,
        "flops_per_token": got["flops"],
        "gflops": round(rate / 1e9, 2),
        "product_gflops": round(middle["one"] / 1e9, 2),
        "best_gflops": round(middle["best"] / 1e9, 2),
        "share_of_product": round(rate / middle["one"], 3),
        "share_of_best": round(rate / middle["best"], 3),
        "exam_stories": got["stories"],
        "exam_seconds": round(got["exam"], 2),
        "files": by_file(model, tokenizer, rounds, tokens),
        "rounds": rounds,
        "date": date.today().isoformat(),
        "versions": {"node": got["node"], "machine": platform.machine()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=120, help="tokens in a round")
    parser.add_argument("--places", type=int, default=100, help="of each skill in the exam")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if min(args.rounds, args.tokens, args.places) < 1:
        parser.error("--rounds, --tokens and --places must be 1 or more")
    result = measure(args.rounds, args.tokens, args.places)
    print(f"{result['tokens_per_second']:,} tokens a second of processor time; target 1,000")
    print(
        f"  {result['gflops']} GFLOP/s, of the model's {result['flops_per_token']:,} FLOPs a token"
    )
    for name, words in (("product", "one row at a time"), ("best", "64 rows at a time")):
        rate, share = result[f"{name}_gflops"], result[f"share_of_{name}"]
        print(f"  the page's product, {words}: {rate} GFLOP/s; the model reaches {share:.0%} of it")
    print(f"the exam, {result['exam_stories']} stories: {result['exam_seconds']} seconds")
    for name, one in result["files"].items():
        rate = f"{one['tokens_per_second']:,} tokens a second"
        print(f"  a file in {name}: {one['bytes']:,} bytes, read in {one['read_ms']} ms, {rate}")
    write_text(args.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
