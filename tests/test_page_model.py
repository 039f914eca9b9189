"""The GPT in the page, `gpt.js`, beside PyTorch's; and the file that brings a model there."""

from __future__ import annotations

import json
import random
import re
import struct

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from scripts import run_script

from gptlib.generation import stream
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets.live_gpt import switched_off
from gptlib.widgets.model_file import FORMAT, export_model, import_model, model_bytes

READ = """
const { readModel } = await module("model_file.js");
const { GPT, stream } = await module("gpt.js");
const opened = readModel(data);
const model = new GPT(opened.config, opened.weights);
"""
SMALL = {"context_length": 24, "vocab_size": 65, "gelu": "none"}
CONFIGS = {
    "biases, tied": GPTConfig(n_layer=2, n_head=4, n_embd=32, **SMALL),
    "no biases": GPTConfig(n_layer=3, n_head=2, n_embd=24, bias=False, **SMALL),
    "untied, biases but in qkv": GPTConfig(
        n_layer=2, n_head=3, n_embd=30, tied=False, qkv_bias=False, **{**SMALL, "vocab_size": 71}
    ),
    "one head, GPT-2's GELU": GPTConfig(
        n_layer=1, n_head=1, n_embd=17, **{**SMALL, "gelu": "tanh"}
    ),
    "post-norm": GPTConfig(n_layer=2, n_head=2, n_embd=16, norm="post", **SMALL),
    "stories": GPTConfig.preset("stories"),
}


MODERN = {"n_layer": 2, "n_head": 4, "n_kv_head": 2, "n_embd": 24, "head_size": 8, "hidden": 20}
MODERN |= {"vocab_size": 65, "context_length": 24}
MODERNS = {
    "as the recipes have it": ModernConfig(**MODERN, logit_cap=None),
    "caps, a window, a sandwich": ModernConfig(
        **MODERN, norm="sandwich", gating="geglu", window=5, full_every=2, score_cap=2.0,
        logit_cap=4.0, qk_norm=False,
    ),
    "biases, untied, one head of keys": ModernConfig(
        **MODERN | {"n_kv_head": 1}, bias=True, tied=False, rope_base=500.0,
    ),
}  # fmt: skip


def built(config: GPTConfig | ModernConfig) -> GPT | ModernGPT:
    """A model whose every weight counts: biases are not 0, scales are not 1."""
    torch.manual_seed(0)
    model = (GPT if isinstance(config, GPTConfig) else ModernGPT)(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def letters(config: GPTConfig) -> CharTokenizer:
    return CharTokenizer("".join(chr(65 + i) for i in range(config.vocab_size)))


def exported(model: GPT, numbers: str = "float32") -> bytes:
    return model_bytes(model, letters(model.config), numbers)


def ids(config: GPTConfig, T: int) -> torch.Tensor:
    return torch.randint(config.vocab_size, (T,), generator=torch.Generator().manual_seed(1))


# The numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_page_has_the_logits_of_pytorch(config):
    model, idx = built(config), ids(config, 22)
    code = READ + "return [model.forward(given), ...model.residual];"
    got, *residual = run_script(code, idx.tolist(), exported(model))
    with torch.no_grad():
        wanted = model(idx[None])[0][0]
        x = model.token_embedding(idx) + model.position_embedding.weight[: len(idx)]
    torch.testing.assert_close(torch.tensor(got).view_as(wanted), wanted, atol=1e-4, rtol=0)
    for block, seen in zip([None, *model.blocks], residual, strict=True):
        with torch.no_grad():
            x = block(x[None])[0] if block else x
        torch.testing.assert_close(torch.tensor(seen).view_as(x), x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_is_kept_changes_nothing(config):
    """Read in pieces of any length, a text has the logits that it has in one go."""
    idx = ids(config, 24).tolist()
    code = (
        READ
        + """
        const whole = model.forward(given);
        const cache = model.cache();
        const parts = [1, 3, 1, 1, 8, 5, 5].map((n) => model.forward(given.splice(0, n), cache));
        let worst = 0;
        let i = 0;
        for (const part of parts) {
          for (const z of part) worst = Math.max(worst, Math.abs(z - whole[i++]));
        }
        return [worst, i === whole.length];
    """
    )
    worst, all_compared = run_script(code, idx, exported(built(config)))
    assert worst < 1e-5 and all_compared


READY = """
const { readModel } = await module("model_file.js");
const { ready } = await module("reader.js");
const { model } = ready(readModel(data));
"""


@pytest.mark.parametrize("config", MODERNS.values(), ids=MODERNS)
def test_a_modern_model_has_the_logits_of_pytorch_in_any_pieces_and_with_parts_off(config):
    model, idx = built(config), ids(config, 24)
    code = (
        READY
        + """
        const whole = model.forward(given);
        const looked = model.blocks.map((block) => block.attention.weights);
        const cache = model.cache();
        const parts = [1, 3, 1, 1, 8, 5, 5].map((n) => model.forward(given.splice(0, n), cache));
        return [whole, parts.flatMap((part) => [...part]), looked];
    """
    )
    whole, parts, looked = run_script(code, idx.tolist(), exported(model))
    with torch.no_grad():
        wanted = model(idx[None])[0][0]
        x = model.token_embedding(idx)[None]
        for block, weights in zip(model.blocks, looked, strict=True):
            right = block.attention.weights(block.norm_1(x))[0]  # (n_head, T, T)
            torch.testing.assert_close(
                torch.tensor(weights).view_as(right), right, atol=1e-4, rtol=0
            )
            x = block(x)
    for got in (whole, parts):
        torch.testing.assert_close(torch.tensor(got).view_as(wanted), wanted, atol=1e-4, rtol=0)
    assert wanted.std() > 0.3
    off = ["blocks.0.attention.2", "blocks.1.feed_forward"]
    code = (
        READY
        + """
        (await module("reader.js")).switchOff(model, given.off);
        return model.forward(given.ids);
    """
    )
    got = run_script(code, {"off": off, "ids": idx.tolist()}, exported(model))
    with torch.no_grad(), switched_off(model, off):
        wanted = model(idx[None])[0][0]
    torch.testing.assert_close(torch.tensor(got).view_as(wanted), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("config", MODERNS.values(), ids=MODERNS)
def test_a_modern_model_goes_into_a_file_and_comes_back(config, tmp_path):
    model = built(config)
    found, _ = import_model(export_model(tmp_path / "it", model, letters(config), "float32"))
    assert found.config == config
    theirs = found.state_dict()
    assert all(tensor.equal(theirs[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"n_expert": 4}, "n_expert is 4"), ({"sinks": True}, "sinks is True"),
     ({"gating": "clipped"}, "gating is 'clipped'")],
)  # fmt: skip
def test_a_modern_model_that_no_page_runs_is_refused_here_and_there(changes, reason):
    model = ModernGPT(ModernConfig(**MODERN, **changes))
    with pytest.raises(ValueError, match=f"{reason}: a page runs no model with experts, sinks or"):
        model_bytes(model, letters(model.config))
    code = """
        const { MODERN_FILE } = await module("modern_file.js");
        try { return MODERN_FILE.check(given); } catch (error) { return error.message; }
    """
    assert "the page does not know" in run_script(code, vars(model.config))
    assert run_script(code, vars(MODERNS["as the recipes have it"]))["n_layer"] == 2


@pytest.mark.parametrize("name", ["biases, tied", "stories"])
def test_attention_weights_are_those_of_chapter_3(name):
    model = built(CONFIGS[name])
    idx = ids(model.config, 9)
    code = READ + "model.forward(given); return model.blocks.map((b) => b.attention.weights);"
    found = run_script(code, idx.tolist(), exported(model))
    with torch.no_grad():
        x = model.token_embedding(idx) + model.position_embedding.weight[:9]
        for block, weights in zip(model.blocks, found, strict=True):
            wanted = block.attention.weights(block.norm_1(x[None]))[0]  # (n_head, T, T)
            torch.testing.assert_close(
                torch.tensor(weights).view_as(wanted), wanted, atol=1e-5, rtol=0
            )
            x = block(x[None])[0]


def test_a_part_that_is_switched_off_hands_over_nothing():
    model, idx = built(CONFIGS["biases, tied"]), ids(CONFIGS["biases, tied"], 12)
    code = READ + "model.blocks[0].attention.off.add(2); model.blocks[1].feed_forward.off = true;"
    got = run_script(code + "return model.forward(given);", idx.tolist(), exported(model))

    def without_head(module, inputs):
        heads = inputs[0].clone()
        heads[..., 16:24] = 0
        return (heads,)

    model.blocks[0].attention.project.register_forward_pre_hook(without_head)
    model.blocks[1].feed_forward.register_forward_hook(lambda m, i, out: torch.zeros_like(out))
    with torch.no_grad():
        wanted = model(idx[None])[0][0]
    torch.testing.assert_close(torch.tensor(got).view_as(wanted), wanted, atol=1e-4, rtol=0)


ASKED = [[0], [2, 3, 3, 9, 21], list(range(22))]


@pytest.mark.parametrize("simd", [True, False], ids=["SIMD", "no WebAssembly"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_fast_way_has_the_logits_of_pytorch_too(config, simd):
    """At any places of a text, in any order, and with parts off: after a longer text, too."""
    model, idx = built(config), ids(config, 22)
    off = [f"blocks.0.attention.{config.n_head - 1}", f"blocks.{config.n_layer - 1}.feed_forward"]
    code = (
        "if (!given.simd) globalThis.WebAssembly = undefined;"
        + READ
        + """
        const { fastGPT } = await module("fast_gpt.js");
        const { switchOff } = await module("reader.js");
        const answer = fastGPT(model);
        return [[], given.off].map((off) => {
          switchOff(model, off);
          return [...given.asked, [5, 1]].map((places) => answer(given.ids, places));
        });
    """
    )
    said = {"simd": simd, "off": off, "asked": ASKED, "ids": idx.tolist()}
    for parts, found in zip([[], off], run_script(code, said, exported(model)), strict=True):
        with torch.no_grad(), switched_off(model, parts):
            wanted = model(idx[None])[0][0]
        for places, got in zip([*ASKED, [5, 1]], found, strict=True):
            right = wanted[places]
            torch.testing.assert_close(torch.tensor(got).view_as(right), right, atol=1e-4, rtol=0)


def test_the_fast_gelu_is_gelu_however_large_a_number_is():
    """Feed-forward layers that hand over numbers from -20 to 20, and beyond what 32 bits hold."""
    config = CONFIGS["stories"]
    model, idx = built(config), ids(config, 40)
    for block, scale in zip(model.blocks, (1.0, 5.0, 30.0, 3e7), strict=True):
        block.feed_forward.expand.weight.data *= scale
        block.feed_forward.project.weight.data /= scale
    code = READ + 'return (await module("fast_gpt.js")).fastGPT(model)(given, [0, 7, 39]);'
    got = run_script(code, idx.tolist(), exported(model))
    with torch.no_grad():
        wanted = model(idx[None])[0][0][[0, 7, 39]]
    torch.testing.assert_close(torch.tensor(got).view_as(wanted), wanted, atol=2e-4, rtol=0)


def test_a_short_text_behind_a_long_one_is_read_alone():
    """What an earlier text has left in the memory of the products does not count."""
    config = CONFIGS["stories"]
    model, idx = built(config), ids(config, 60)
    code = (
        READ
        + """
        const answer = (await module("fast_gpt.js")).fastGPT(model);
        return [60, 3, 13, 1].map((n) => answer(given.slice(0, n), [n - 1]));
    """
    )
    found = run_script(code, idx.tolist(), exported(model))
    for n, got in zip([60, 3, 13, 1], found, strict=True):
        with torch.no_grad():
            right = model(idx[None, :n])[0][0, -1]
        torch.testing.assert_close(torch.tensor(got), right, atol=1e-4, rtol=0)


def test_single_functions_are_those_of_pytorch():
    generator = torch.Generator().manual_seed(2)
    x, weight, bias = torch.randn(3, 6, 10, generator=generator)
    x = 3 * x
    code = """
        const { erf, gelu, layer_norm, matmul } = await module("gpt.js");
        const [x, weight, bias] = given.map((numbers) => Float32Array.from(numbers));
        return [
          gelu(x, "none"), gelu(x), x.map(erf), matmul(x, weight, 6, 10, 6),
          layer_norm(x, weight.subarray(0, 10), bias.subarray(0, 10)),
          layer_norm(x, weight.subarray(0, 10)),
        ];
    """
    found = run_script(code, [t.flatten().tolist() for t in (x, weight, bias)])
    wanted = [F.gelu(x), F.gelu(x, approximate="tanh"), x.erf(), x @ weight.T]
    wanted += [F.layer_norm(x, (10,), weight[0], bias[0]), F.layer_norm(x, (10,), weight[0])]
    for numbers, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(torch.tensor(numbers).view_as(right), right, atol=1e-5, rtol=0)


def test_the_page_writes_on_when_the_context_is_full():
    model = built(CONFIGS["no biases"])
    idx = ids(model.config, 20)
    code = READ + "return [...stream(model, given, 30, { temperature: 0 })];"
    got = run_script(code, idx.tolist(), exported(model))
    assert got == list(stream(model, idx[None], 30, temperature=0)) and len(got) == 30


def test_a_text_that_is_changed_is_read_on_from_the_change():
    """Whatever was read and looked at before, the numbers are those of the whole text."""
    model = built(CONFIGS["no biases"])
    rng = random.Random(3)
    text = ids(model.config, 10).tolist()
    tasks = []
    for _ in range(60):
        keep = rng.randrange(1, len(text) + 1)
        text = text[:keep] + [rng.randrange(65) for _ in range(rng.randrange(6))]
        window = text[-24:]
        tasks.append([text, rng.randrange(1, len(window) + 1)])
    tasks.append([ids(model.config, 24).tolist() + [1] * 3, 24])
    code = (
        READ
        + """
        const { Reader } = await module("reader.js");
        const reader = new Reader(model);
        return given.map(([text, n]) => {
          const left = reader.read(text);
          const { logits, residual, weights } = reader.look(n);
          const early = reader.lens(residual)[1];
          return [left, logits, residual, weights[1], reader.probs.slice(), early];
        });
    """
    )
    for (text, n), got in zip(tasks, run_script(code, tasks, exported(model)), strict=True):
        left, logits, residual, weights, probs, lens = got
        window = torch.tensor(text[-24:])
        assert left == max(0, len(text) - 24) and probs[0] is None
        with torch.no_grad():
            all_logits = model(window[None])[0][0]  # (T, V)
            x = model.token_embedding(window) + model.position_embedding.weight[: len(window)]
            x1 = model.blocks[0](x[None])
            looked = model.blocks[1].attention.weights(model.blocks[1].norm_1(x1))[0, :, n - 1, :n]
            early = model.head(model.final_norm(x1))[0, n - 1].softmax(0)
        given_to = all_logits.softmax(1)[:-1].gather(1, window[1:, None])[:, 0]
        close = {"atol": 1e-4, "rtol": 0}
        torch.testing.assert_close(torch.tensor(logits), all_logits[n - 1], **close)
        torch.testing.assert_close(torch.tensor(residual[1]), x1[0, n - 1], **close)
        torch.testing.assert_close(torch.tensor(weights).float().view_as(looked), looked, **close)
        torch.testing.assert_close(torch.tensor(probs[1:]).float(), given_to, **close)
        torch.testing.assert_close(torch.tensor(lens), early, **close)


def test_a_token_that_is_written_costs_one_walk_through_the_model():
    """What was made of it while it was read is what is looked at, until the text is another."""
    code = (
        READ
        + """
        const { Reader } = await module("reader.js");
        const reader = new Reader(model), forward = model.forward;
        let walks = 0;
        model.forward = (...all) => { walks += 1; return forward.apply(model, all); };
        const text = [...given], found = [];
        for (let k = 0; k < 8; k++) {
          reader.read(text);
          const before = walks, { logits } = reader.look(text.length);
          found.push([walks - before, logits.indexOf(Math.max(...logits))]);
          text.push(found.at(-1)[1]);
        }
        reader.read([...text.slice(0, -1), (text.at(-1) + 1) % 65]);
        reader.read(text.slice(0, -1));
        const { logits } = reader.look(text.length - 1);
        const counted = walks;
        reader.read([(text[0] + 1) % 65, ...text.slice(1)]);
        const other = reader.look(text.length - 1).logits; // as many tokens, and others
        return [counted, found, logits, other];
    """
    )
    model = built(CONFIGS["no biases"])
    text = ids(model.config, 10).tolist()
    walks, found, last, other = run_script(code, text, exported(model))
    assert [one for one, _ in found] == [1, *[0] * 7]  # the prompt is read in one piece
    # The prompt and its last token; a token each; another last one, and a look before it.
    assert walks == 2 + 7 + 2
    with torch.no_grad():
        for _, token in found:
            scores = model(torch.tensor([text]))[0][0, -1]
            assert scores.argmax() == token
            text.append(token)
        changed = model(torch.tensor([[(text[0] + 1) % 65, *text[1:17]]]))[0][0, -1]
    torch.testing.assert_close(torch.tensor(last), scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.tensor(other), changed, atol=1e-4, rtol=0)


# The file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_model_and_its_tokenizer_come_back(config, tmp_path):
    model = built(config)
    path = export_model(tmp_path / "mine", model, letters(config), numbers="float32")
    assert path.name == "mine.gpt.safetensors"
    again, tokenizer = import_model(path)
    assert again.config == config and tokenizer.chars == letters(config).chars
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert (again.head.weight is again.token_embedding.weight) == config.tied


def test_a_tokenizer_of_pieces_comes_back(tmp_path):
    tokenizer = BPETokenizer.train("low lower lowest", 258, ["<s>"])
    model = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=4, context_length=4, vocab_size=258))
    found = import_model(export_model(tmp_path / "a.gpt.safetensors", model, tokenizer))[1]
    assert found.fingerprint() == tokenizer.fingerprint()
    opened = run_script(READ + "return opened.tokenizer;", None, model_bytes(model, tokenizer))
    assert BPETokenizer._from_state(**{k: opened[k] for k in opened if k != "type"}).vocab


def test_fewer_bits_cost_little():
    """The course's model with 8 bits a weight says nearly what it says with 16."""
    model = GPT(GPTConfig.preset("stories"))
    load_recorded(model, "stories")
    model.eval()
    idx = ids(model.config, 60)
    with torch.no_grad():
        wanted = model(idx[None])[0][0]
    sizes = {}
    for numbers, near in (("float16", 1e-4), ("int8", 1.0)):
        data = exported(model, numbers)
        sizes[numbers] = len(data)
        got = torch.tensor(run_script(READ + "return model.forward(given);", idx.tolist(), data))
        torch.testing.assert_close(got.view_as(wanted), wanted, atol=near, rtol=0)
    assert sizes["int8"] < 0.6 * sizes["float16"]


def test_half_floats_are_read_exactly():
    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    numbers = bits.view(torch.float16).float()
    code = """
        const { fromHalf } = await module("model_file.js");
        return fromHalf(new Uint16Array(data.slice().buffer));
    """
    found = run_script(code, None, bits.numpy().tobytes())
    for one, wanted in zip(found, numbers.tolist(), strict=True):
        assert one == wanted or (one is None and abs(wanted) in (float("inf"),)) or wanted != wanted


def broken_files() -> dict[str, tuple[bytes, str]]:
    """Files that are no model, each with what a reader is told."""
    model = built(CONFIGS["biases, tied"])
    good = exported(model)
    (length,) = struct.unpack("<Q", good[:8])
    header, body = json.loads(good[8 : 8 + length]), good[8 + length :]

    def remade(body=body, metadata=None, config=None, **places) -> bytes:
        told = {**header["__metadata__"], **(metadata or {})}
        if config:
            told["config"] = json.dumps({**json.loads(told["config"]), **config})
        whole = {**header, "__metadata__": told, **places}
        text = json.dumps({k: v for k, v in whole.items() if v is not None}).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + body

    name = "blocks.0.attention.qkv.weight"
    place = header[name]
    nan = torch.full((1,), float("nan")).numpy().tobytes()
    return {
        "empty": (b"", "empty"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + b"x" * 1000, "no safetensors"),
        "text": (b"Once upon a time there was a girl.", "no safetensors"),
        "no JSON": (struct.pack("<Q", 40) + b"{" * 100, "no safetensors"),
        "no UTF-8": (struct.pack("<Q", 40) + b"\xff" * 100, "no safetensors"),
        "null": (struct.pack("<Q", 8) + b"null    " + b"\0" * 8, "not one that gptlib"),
        "foreign": (save({"w": torch.zeros(2)}), "not one that gptlib's export_model wrote"),
        "cut in the header": (good[:200], "cut short"),
        "cut in the numbers": (good[:-1], "cut short"),
        "too long": (good + b"\0", "longer"),
        "another format": (remade(metadata={"format": "gptlib model 2"}), "not one that"),
        "no configuration": (remade(metadata={"config": "5"}), "configuration cannot be read"),
        "no tokenizer": (remade(metadata={"tokenizer": "{"}), "tokenizer cannot be read"),
        "no width": (remade(config={"n_embd": None}), "n_embd is null"),
        "half a head": (remade(config={"n_head": 5}), "cannot be divided"),
        "huge": (remade(config={"vocab_size": 10**9}), "32,0.. million parameters"),
        "deep": (remade(config={"n_layer": 10**15}), "more than 1,000 layers"),
        "another norm": (remade(config={"norm": "rms"}), 'norm is "rms"'),
        "another width": (remade(config={"n_embd": 64}), "has the shape"),
        "a weight missing": (remade(**{name: None}), f"{name} is missing"),
        "a weight too many": (remade(**{"extra.weight": place}), "extra.weight does not belong"),
        "another type": (remade(**{name: {**place, "dtype": "BF16"}}), "kept as BF16"),
        "beyond the end": (
            remade(**{name: {**place, "data_offsets": [10**9, 10**9 + 3 * 32 * 32 * 4]}}),
            "cut short",
        ),
        "before the start": (
            remade(**{name: {**place, "data_offsets": [-4, 3 * 32 * 32 * 4 - 4]}}),
            "makes no sense",
        ),
        "no place": (remade(**{name: {"dtype": "F32", "shape": place["shape"]}}), "no sense"),
        "nan": (remade(body=nan + body[4:]), "not finite"),
    }


BROKEN = broken_files()


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_model_is_refused_in_words(name, tmp_path):
    data, message = BROKEN[name]
    code = """
        const { openModel, readModel } = await module("model_file.js");
        const said = [];
        const note = (error) => said.push([error.constructor.name, error.message]);
        try { readModel(data); } catch (error) { note(error); }
        try { await openModel(new Blob([data])); } catch (error) { note(error); }
        return said;
    """
    refused = run_script(code, None, data)
    assert len(refused) == 2
    for kind, said in refused:
        assert kind == "Error" and re.search(message, said) and len(said) < 300, said
    path = tmp_path / "x.gpt.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"is no model of gptlib|holds nan or inf"):
        import_model(path)


@pytest.mark.parametrize("part", ["config", "tokenizer"])
@pytest.mark.parametrize("text", ["null", '"abc"', "[]", "{}", "[" * 9000 + "]" * 9000, "twice"])
def test_whatever_stands_in_a_model_s_file_python_refuses_it_in_words(part, text, tmp_path):
    tensors = {"w": torch.zeros(2)}
    told = safetensors_metadata(exported(built(CONFIGS["biases, tied"])))
    if text == "twice":  # which of the two was meant?
        text = told[part].replace("{", '{"n_head": 4, ' if part == "config" else '{"chars": "a", ')
    path = tmp_path / "x.gpt.safetensors"
    path.write_bytes(save(tensors, metadata=told | {part: text}))
    with pytest.raises(ValueError, match="is no model of gptlib"):
        import_model(path)


def safetensors_metadata(data: bytes) -> dict[str, str]:
    """The words in the head of a file of safetensors."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])["__metadata__"]


def test_a_file_with_any_byte_changed_is_read_or_refused():
    """A random change ends in a model or in words, not in an error of the machine."""
    good = exported(built(CONFIGS["one head, GPT-2's GELU"]))
    code = """
        const { readModel } = await module("model_file.js");
        const said = {};
        for (const [at, value] of given) {
          const changed = data.slice();
          changed[at] = value;
          try { readModel(changed); } catch (e) { said[e.constructor.name] = e.message; }
        }
        return said;
    """
    rng = random.Random(0)
    (length,) = struct.unpack("<Q", good[:8])
    changes = [[rng.randrange(8 + length), rng.randrange(256)] for _ in range(3000)]
    assert run_script(code, changes, good).keys() <= {"Error"}


def test_what_cannot_be_exported_is_refused():
    config = CONFIGS["no biases"]
    model, tokenizer = built(config), letters(config)
    with pytest.raises(ValueError, match="model must be a GPT; got Linear"):
        model_bytes(torch.nn.Linear(2, 2), tokenizer)
    with pytest.raises(ValueError, match="tokenizer must be one of"):
        model_bytes(model, "abc")
    with pytest.raises(ValueError, match="has 100 tokens; the model knows 65"):
        model_bytes(model, CharTokenizer("".join(map(chr, range(100)))))
    with pytest.raises(ValueError, match="numbers must be one of"):
        model_bytes(model, tokenizer, "int4")
    model.blocks[0].norm_1.weight.data[0] = 1e6
    with pytest.raises(ValueError, match='has numbers above 65,504: use numbers="float32"'):
        model_bytes(model, tokenizer)
    model.blocks[0].norm_1.weight.data[0] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        model_bytes(model, tokenizer)


def test_the_metadata_say_what_the_file_is():
    data = exported(built(CONFIGS["no biases"]))
    (length,) = struct.unpack("<Q", data[:8])
    assert json.loads(data[8 : 8 + length])["__metadata__"]["format"] == FORMAT
    assert "head.weight" not in load(data)  # a tied weight stands there once


# The tokenizer -----------------------------------------------------------------------------------


def in_vocabulary(state: dict, size: int, text: str) -> list:
    code = """
        const { openVocabulary } = await module("vocabulary.js");
        const [state, size, text] = given;
        try {
          const { encode, decode, end, size: known } = openVocabulary(state, size);
          const ids = encode(text);
          return [ids, decode(ids), end, known];
        } catch (error) { return [error.constructor.name, error.message]; }
    """
    return run_script(code, [state, size, text])


@pytest.mark.parametrize("text", ["lower and lowest, café", "", " \n<s> low"])
def test_the_page_encodes_with_the_tokenizer_of_a_file(text):
    pieces = BPETokenizer.train("low lower lowest", 259, ["<s>"])
    state = {"type": "BPETokenizer", **pieces._state()}
    assert in_vocabulary(state, 300, text) == [pieces.encode(text), text, 258, 259]
    chars = CharTokenizer("lower and lowest, café \n<s>")
    state = {"type": "CharTokenizer", **chars._state()}
    assert in_vocabulary(state, 300, text) == [chars.encode(text), text, -1, chars.vocab_size]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "WordTokenizer"},
        {"merges": 5},
        {"merges": [[97, 256]]},
        {"merges": [[97, -1]]},
        {"merges": [[97, 98.5]]},
        {"merges": [[97]]},
        {"merges": [[255 + n if n else 97, 255 + n if n else 97] for n in range(60)]},
        {"byte_order": "00" * 256},
        {"byte_order": "zz" * 256},
        {"special_tokens": [3]},
        {"special_tokens": None},
        {"type": "CharTokenizer"},
        {"type": "CharTokenizer", "chars": "aa"},
        {"type": "CharTokenizer", "chars": ""},
    ],
)
def test_a_tokenizer_that_makes_no_sense_is_refused(change):
    state = {"type": "BPETokenizer", **BPETokenizer([(97, 98)])._state(), **change}
    kind, message = in_vocabulary(state, 10_000, "ab")
    assert kind == "Error" and "tokenizer" in message


def test_a_tokenizer_larger_than_its_model_is_refused():
    state = {"type": "BPETokenizer", **BPETokenizer([(97, 98)])._state()}
    assert "257 tokens, and the model knows 200" in in_vocabulary(state, 200, "ab")[1]


def test_weights_of_any_layout_and_type_come_out_as_float32(tmp_path):
    config = GPTConfig(vocab_size=9, context_length=8, n_layer=1, n_head=1, n_embd=4)
    model = GPT(config)
    wanted = {name: p.detach().bfloat16().float() for name, p in model.named_parameters()}
    model.bfloat16()
    for p in model.parameters():
        p.data = p.data.t().contiguous().t() if p.dim() == 2 else p.data
    found, _ = import_model(export_model(tmp_path / "it", model, letters(config), "float32"))
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    for name, p in found.named_parameters():
        assert torch.equal(p, wanted[name]), name
