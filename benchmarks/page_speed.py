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

Then the page itself, in Chromium: the widget of the Playground, its answer key included, with *as
fast as this page can* ticked, writes stories to their ends. Each is timed from the press of *write*
until the last token is drawn: by the clock, which counts the waiting for the screen and is to be
read on a quiet machine alone, and by the processor's time of the page's own thread, the drawing
included. `--stories 0` leaves this out, and keeps what an older record says of it.
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
from gptlib.widgets import LiveGPT
from gptlib.widgets.model_file import model_bytes
from gptlib.widgets.story_key import answer_key

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "book" / "tools"))
from mathset import node_program  # noqa: E402 # the book's own tool
from training_page import opened  # noqa: E402

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


# A story from the press of the button until its last token is drawn: [tokens, seconds].
WRITE = """async () => {
    const button = (words) => [...document.querySelectorAll(".gpt-widget button")].find((b) => b.textContent === words);
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const run = button("write"), before = performance.now();
    const over = new Promise((done) => new MutationObserver(
        () => { if (run.textContent === "write") done(); }).observe(run, { childList: true }));
    run.click();
    await over;
    await frame();
    const seconds = (performance.now() - before) / 1000;
    return [document.querySelectorAll(".gw-written:not([hidden])").length, seconds];
}"""  # noqa: E501
BACK = """async () => {
    [...document.querySelectorAll(".gpt-widget button")].find((b) => b.textContent.startsWith("back to the b")).click();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)));
}"""  # noqa: E501
WARM = 5  # stories before the clock starts


def the_model() -> tuple[GPT, BPETokenizer]:
    """The book's, as the Playground has it."""
    text = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(text, 1536, special_tokens=[corpus.END])
    model = GPT(GPTConfig.preset("stories"))
    load_recorded(model, "stories")
    return model, tokenizer


def in_chromium(model: GPT, tokenizer: BPETokenizer, stories: int) -> dict[str, Any]:
    """Tokens a second of the widget itself, by the clock and by its thread's processor time."""
    widget = LiveGPT(model, tokenizer, temperature=0.8, answer_key=True, fast=True)
    with opened(widget) as (browser, page, tools):
        found = [story(page, tools) for _ in range(WARM + stories)][WARM:]
        version = browser.version
    tokens, seconds, used = (sum(part) for part in zip(*found, strict=True))
    return {
        "stories": stories, "tokens": tokens, "tokens_per_second": round(tokens / seconds),
        "tokens_per_second_of_processor": round(tokens / used), "chromium": version,
    }  # fmt: skip


def story(page: Any, tools: Any) -> tuple[int, float, float]:
    """One story: its tokens, the seconds of the clock, and those of the page's thread."""
    page.evaluate(BACK)
    before = busy(tools)
    tokens, seconds = page.evaluate(WRITE)
    return tokens, seconds, busy(tools) - before


def busy(tools: Any) -> float:
    """Seconds that the page's thread has worked so far."""
    metrics = tools.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


def measure(
    model: GPT, tokenizer: BPETokenizer, rounds: int, tokens: int, places: int
) -> dict[str, Any]:
    """Run all of it in one node and return what goes into the JSON file."""
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
    parser.add_argument("--stories", type=int, default=40, help="in Chromium; 0: none")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if min(args.rounds, args.tokens, args.places) < 1 or args.stories < 0:
        parser.error("--rounds, --tokens and --places must be 1 or more, --stories 0 or more")
    model, tokenizer = the_model()
    result = measure(model, tokenizer, args.rounds, args.tokens, args.places)
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
    if args.stories:
        page = result["page"] = in_chromium(model, tokenizer, args.stories)
        print(
            f"the page itself, {page['stories']} stories: {page['tokens_per_second']:,} tokens a "
            f"second by the clock, {page['tokens_per_second_of_processor']:,} of its processor time"
        )
    elif args.out.exists():
        old = json.loads(args.out.read_text(encoding="utf-8"))
        result |= {name: old[name] for name in ("page",) if name in old}
    write_text(args.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
