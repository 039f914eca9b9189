"""A page of its own for one model: what stands in it, what is refused, nothing half-written."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
import torch
from scripts import WIDGETS, run_script

from gptlib.checkpoint import save_checkpoint
from gptlib.cli.main import main
from gptlib.engine.describe import describe
from gptlib.engine.export import export, export_page
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.tokenizer import CharTokenizer
from gptlib.widgets import own_page
from gptlib.widgets.model_file import import_model, stored, unpacked

LETTERS = CharTokenizer("abcdefgh <&>\n")
SIZES = {"vocab_size": 13, "context_length": 12, "n_layer": 1, "n_head": 2, "n_embd": 8}


def model() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(**SIZES)).eval()


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "mine", model(), tokenizer=LETTERS)
    return tmp_path


def pieces(page: str, kind: str) -> list[str]:
    return re.findall(rf'<script type="[^"]*" class="{kind}">(.*?)</script>', page, flags=re.S)


@pytest.mark.parametrize("numbers", ["float32", "float16", "int8"])
def test_the_model_lies_in_the_page_in_pieces(numbers, monkeypatch, tmp_path):
    monkeypatch.setattr(own_page, "PIECE", 3 * 2**8)
    page = own_page.page(model(), LETTERS, "mine", {}, numbers=numbers)
    found = pieces(page, "model")
    data = b"".join(map(base64.b64decode, found))
    assert len(found) == -(-len(data) // (3 * 2**8)) > 1
    (tmp_path / "mine.gpt.safetensors").write_bytes(data)
    ours, tokenizer = import_model(tmp_path / "mine.gpt.safetensors")
    assert tokenizer.fingerprint() == LETTERS.fingerprint()
    wanted = unpacked(stored(model(), numbers))
    assert all(ours.state_dict()[name].equal(tensor) for name, tensor in wanted.items())
    code = 'return (await module("own_page.js")).fromBase64(given);'
    assert bytes(run_script(code, found)) == data


def test_what_is_told_is_told_as_text_and_long_parts_are_folded():
    told = {"Scores": {"<b>loss</b>": "1 & 2"}, "Model": {f"n{i}": i for i in range(13)}}
    page = own_page.page(model(), LETTERS, "<mine>", told, prompt="a</script>"[:1] + "<")
    assert "<dt>&lt;b&gt;loss&lt;/b&gt;</dt><dd>1 &amp; 2</dd>" in page
    assert page.count("<details>") == 1 and "<summary>13 lines</summary>" in page
    assert "<h1>&lt;mine&gt;</h1>" in page and "<mine>" not in page.replace("\\u003c", "")
    (settings,) = pieces(page, "settings")
    told = json.loads(settings)
    assert "<" not in settings and told["prompt"] == "a<" and told["title"] == "Write with <mine>"
    assert told["bare"] is True and told["top_k"] == 13 and "model_file" not in told
    many = CharTokenizer("".join(map(chr, range(65, 165))))
    page = own_page.page(GPT(GPTConfig(**SIZES | {"vocab_size": 100})), many, "mine", {})
    assert json.loads(pieces(page, "settings")[0])["top_k"] == 50


def test_the_script_alone_is_allowed_and_ends_where_it_should():
    page = own_page.page(model(), LETTERS, "mine", {})
    (script,) = re.findall(r'<script type="module">(.*?)</script>\n</body>', page, flags=re.S)
    asked = re.search(r"'sha256-([^']+)'", page)[1]
    assert base64.b64decode(asked) == hashlib.sha256(script.encode()).digest()
    assert "<!--" not in script and "import " not in re.sub(r"//.*", "", script)
    assert "default-src 'none'" in page and "connect-src" not in page
    assert re.search(r"const face = \{ render \};", script)


def test_as_many_parameters_as_the_script_takes(monkeypatch):
    script = (WIDGETS / "model_file.js").read_text("utf-8")
    assert float(re.search(r"MOST_PARAMETERS = ([\d.e]+)", script)[1]) == own_page.MOST_PARAMETERS
    monkeypatch.setattr(own_page, "MOST_PARAMETERS", 10)
    with pytest.raises(ValueError, match=r"and a page can run up to 10: export it --to"):
        own_page.page(model(), LETTERS, "mine", {})


def test_traits_are_those_of_a_widget():
    code = """
    const { traits } = await module("own_page.js");
    const model = traits({ a: 1, b: 2 });
    const seen = [];
    const tell = () => seen.push([model.get("a"), model.get("b")]);
    model.on("change:a", tell);
    model.set("a", 1);
    model.set({ a: 3, b: 4 });
    model.set("b", 5);
    model.off("change:a", tell);
    model.set("a", 6);
    model.save_changes();
    return [seen, model.get("a"), model.get("c") === undefined];
    """
    assert run_script(code) == [[[3, 4]], 6, True]


def test_what_is_read_first_is_what_generate_reads_first():
    code = """
    const { opening } = await module("live_gpt.js");
    const end = { end: 9, encode: () => [3] };
    const none = { end: -1, encode: () => { throw new Error("none"); } };
    const line = { end: -1, encode: () => [3] };
    return [opening(end, [1]), opening(end, [1], true), opening(end, [], true),
      opening(line, []), opening(none, []), opening(none, [2])];
    """
    assert run_script(code) == [[9, 1], [1], [9], [3], [0], [2]]


def test_a_page_replaces_a_page_and_nothing_else(saved):
    export_page("mine", "site")
    first = (saved / "site" / "index.html").read_text("utf-8")
    assert "<dt>not measured</dt>" in first and describe("site")["is"] == "a page with a model"
    scores = {"validation": {"bits_per_byte": 2.125}, "samples": {}}
    export_page("mine", "site", scores=scores, prompt="abc")
    text = (saved / "site" / "index.html").read_text("utf-8")
    assert "<dt>validation bits_per_byte</dt><dd>2.125</dd>" in text and '"prompt": "abc"' in text
    export("mine", "theirs")
    for write, place in ((export_page, "theirs"), (export_page, "mine"), (export, "site")):
        with pytest.raises(ValueError, match="holds something else than"):
            write("mine", place)
    assert (saved / "site" / "index.html").read_text("utf-8") == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine", "new", "--prompt", "xyz"], "which is none of the 13 characters"),
        (["mine", "new", "--scores", "nowhere.json"], "nowhere.json"),
        (["nowhere", "new"], "nowhere"),
        (["mine", "no/new"], "must lie in a folder that exists"),
        (["modern", "new"], "n_expert is 3: a page runs no model with experts"),
    ],
)
def test_what_cannot_be_a_page_is_one_line_and_leaves_nothing(saved, words, said, capsys):
    save_checkpoint(
        "modern",
        ModernGPT(ModernConfig(**SIZES, n_kv_head=1, head_size=4, hidden=8, n_expert=3)),
        tokenizer=LETTERS,
    )
    assert main(["export", *words, "--to", "page"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gptlib export: ") and said in error and error.count("\n") == 1
    assert sorted(path.name for path in saved.iterdir()) == ["mine", "modern"]


def test_a_write_that_fails_leaves_the_old_page(saved, monkeypatch):
    export_page("mine", "site")
    text = (saved / "site" / "index.html").read_text("utf-8")

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    assert main(["export", "mine", "site", "--to", "page", "--prompt", "abc"]) == 2
    monkeypatch.undo()
    assert (saved / "site" / "index.html").read_text("utf-8") == text
    assert sorted(path.name for path in saved.iterdir()) == ["mine", "site"]
