"""What we write, Transformers reads: the same logits, the same greedy text, the same tokens.

One small random model for each form, shaken so that no scale of 1 hides a mistake.
The other way round, GPT-2's own shapes come in.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.checkpoint import save_checkpoint
from gptlib.corpus import END
from gptlib.engine.export import export, from_pretrained
from gptlib.engine.foreign_tokenizer import foreign, signs
from gptlib.engine.forms import form_of
from gptlib.engine.learn import learn
from gptlib.engine.prepare import prepare
from gptlib.generation import generate
from gptlib.given.sources import SOURCES
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.tokenizer import BPETokenizer, CharTokenizer

transformers = pytest.importorskip("transformers", reason="pip install transformers")
tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")

ROOT = Path(__file__).resolve().parent.parent
TEXT = "the cat sat on the mat, and the dog's log fell for 24 hours. Für 🍎!\n" * 3
BPE = BPETokenizer.train(TEXT, 290, [END])
SMALL = {
    "vocab_size": BPE.vocab_size,
    "context_length": 40,
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 24,
}
MODERN = SMALL | {"n_kv_head": 2, "head_size": 8, "hidden": 20, "logit_cap": None, "qk_norm": False}
CLASSIC = {
    "as GPT-2": GPTConfig(**SMALL),
    "no biases": GPTConfig(**SMALL, bias=False, gelu="none"),
    "the lecture's": GPTConfig(**SMALL, qkv_bias=False, tied=False, dropout=0.1),
}
GEMMA = {"norm": "sandwich", "gating": "geglu", "window": 5, "full_every": 2, "score_cap": 2.0}
MODERNS = {
    "llama": ModernConfig(**MODERN, rope_base=500.0),
    "llama with biases": ModernConfig(**MODERN, bias=True, tied=False),
    "qwen3": ModernConfig(**MODERN | {"qk_norm": True}),
    "qwen3 untied": ModernConfig(**MODERN | {"qk_norm": True, "tied": False, "n_kv_head": 1}),
    "gemma2": ModernConfig(**MODERN | GEMMA | {"logit_cap": 4.0}),
    "gemma2 without caps": ModernConfig(**MODERN | GEMMA | {"score_cap": None, "full_every": None}),
    "mixtral": ModernConfig(**MODERN, n_expert=5, n_active=2, tied=False),
}


def shaken(config) -> GPT | ModernGPT:
    torch.manual_seed(0)
    model = GPT(config) if isinstance(config, GPTConfig) else ModernGPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("config", (CLASSIC | MODERNS).values(), ids=CLASSIC | MODERNS)
def test_transformers_loads_it_with_the_same_logits_and_greedy_text(config, tmp_path):
    ours = shaken(config)
    save_checkpoint(tmp_path / "ours", ours, tokenizer=BPE)
    export(tmp_path / "ours", tmp_path / "theirs")
    load = {"local_files_only": True}
    auto = transformers.AutoModelForCausalLM
    theirs, told = auto.from_pretrained(tmp_path / "theirs", output_loading_info=True, **load)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    theirs = theirs.eval()
    idx = torch.randint(BPE.vocab_size - 1, (3, 30))
    with torch.no_grad():
        logits, expected = ours(idx)[0], theirs(idx).logits
    assert logits.std() > 0.3
    assert (logits - expected).abs().max() < 1e-4
    asked = {"max_new_tokens": 20, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    text = theirs.generate(idx[:, :4], attention_mask=torch.ones(3, 4), **asked)
    assert torch.equal(generate(ours, idx[:, :4], 20, temperature=0), text)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs", **load)
    assert tokenizer(TEXT).input_ids == BPE.encode(TEXT)
    assert tokenizer.decode(BPE.encode(TEXT)) == TEXT and tokenizer.eos_token == END


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"logit_cap": 30.0},
            "a cap on the logits is what Gemma 2's form alone has a word for, and",
        ),
        ({"window": 4}, "a window is what Gemma 2's form alone .* needs norm 'sandwich'"),
        (GEMMA | {"qk_norm": True}, "needs qk_norm False; this model has True"),
        ({"qk_norm": True, "bias": True}, "Qwen3's form has qk_norm, and no bias"),
        ({"n_expert": 4, "qk_norm": True}, "Mixtral's form has experts, and neither qk_norm"),
        ({"sinks": True}, "GPT-OSS's own"),
    ],
)
def test_what_no_form_expresses_is_refused_with_the_reason(changes, reason, tmp_path):
    config = ModernConfig(**MODERN | changes)
    with pytest.raises(ValueError, match=reason):
        form_of(config)
    save_checkpoint(tmp_path / "ours", ModernGPT(config), tokenizer=BPE)
    with pytest.raises(ValueError, match=reason):
        export(tmp_path / "ours", tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_a_post_norm_model_has_no_form_and_other_folders_stay(tmp_path):
    with pytest.raises(ValueError, match="GPT-2 norms before each part"):
        form_of(GPTConfig(**SMALL, norm="post"))
    save_checkpoint(tmp_path / "ours", shaken(CLASSIC["as GPT-2"]), tokenizer=BPE)
    with pytest.raises(ValueError, match="holds something else than an exported model"):
        export(tmp_path / "ours", tmp_path / "ours")


def test_the_card_tells_what_is_known(tmp_path):
    save_checkpoint(tmp_path / "ours", shaken(MODERNS["qwen3"]), tokenizer=BPE)
    scores = {
        "validation": {"loss": 1.25, "bits_per_byte": 0.5},
        "samples": {"novel_8": 0.75, "first": "Once"},
        "stories": {"floor": 0.38, "well_formed": 0.9},
    }
    export(tmp_path / "ours", tmp_path / "out", scores=scores)
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    for word in ("Qwen3ForCausalLM", "- qk_norm: True", "validation bits_per_byte: 0.5",
                 "novel_8: 0.75", "stories floor: 0.38", "It sees 40 tokens"):  # fmt: skip
        assert word in text, word
    export(tmp_path / "ours", tmp_path / "out")  # once more over it
    assert "not measured" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_the_card_begins_a_text_with_what_the_tokenizer_has(tmp_path):
    letters = CharTokenizer("abcdefg")
    few = GPT(GPTConfig(**SMALL | {"vocab_size": 7}))
    for model, tokenizer, prompt in (
        (few, letters, "d"),
        (shaken(CLASSIC["as GPT-2"]), BPE, "Once"),
    ):
        save_checkpoint(tmp_path / "ours", model, tokenizer=tokenizer)
        export(tmp_path / "ours", tmp_path / "out")
        assert f'("{prompt}"' in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_the_card_tells_how_a_run_went(data, tmp_path):
    small = {"n_layer": 1, "n_head": 2, "n_embd": 8, "context_length": 8, "device": "cpu"}
    short = {"steps": 4, "eval_every": 2, "eval_batches": 1, "batch_size": 2}
    run = learn(data, tmp_path / "run", log=lambda line: None, **small, **short)
    export(run, tmp_path / "out", which="last")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    last = json.loads((run / "log.jsonl").read_text("utf-8").splitlines()[-1])
    lines = text.splitlines()
    assert "- steps done: 4" in lines and f"- tokens seen: {4 * 2 * 8}" in lines
    assert f"- val_loss, nats per token, at step 4: {round(last['val_loss'], 4)}" in lines
    assert re.search(r"^- seconds of training: \d+\.\d$", text, flags=re.M)
    assert "- lr: 0.0003" in lines and "- SHA-256 of train.bin: " in text
    part = text[text.index("## Data") : text.index("## Training")]
    content = (data.parent / "a.txt").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert f"- source 1: a.txt, bytes {len(content)}, sha256 {sha256}\n" in part
    assert "- learned from: 1,836 tokens, 1,836 characters, 1,836 bytes\n" in part
    assert "- held out: 204 tokens" in part and "- cut by: position, 0.1 held out, seed 0" in part
    assert str(data.parent) not in text  # the folders of a home are not published


def test_the_card_names_the_home_of_a_text_and_what_an_older_run_knows(data, tmp_path):
    short = {"steps": 1, "eval_every": 1, "eval_batches": 1, "batch_size": 2, "device": "cpu"}
    small = {"n_layer": 1, "n_head": 2, "n_embd": 8, "context_length": 8}
    run = learn(data, tmp_path / "run", log=lambda line: None, **small, **short)
    file = run / "settings.json"
    told = json.loads(file.read_text("utf-8"))
    told["text"]["sources"] = [
        {"name": "tinyshakespeare", "bytes": 9}, {"name": "stories", "n": 3, "seed": 1, "volume": 2}
    ]  # fmt: skip
    told["text"]["more_sources"] = 7
    file.write_text(json.dumps(told), "utf-8")
    export(run, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    known = SOURCES["tinyshakespeare"]
    assert f"- source 1: tinyshakespeare, bytes 9, home {known.url}, licence public" in text
    assert "- source 2: stories, n 3, seed 1, volume 2\n" in text and "- more sources: 7\n" in text
    del told["text"]
    file.write_text(json.dumps(told), "utf-8")
    export(run, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "## Data\n\n- SHA-256 of train.bin: " in text and "source 1" not in text


def test_of_many_sources_a_run_names_the_first(tmp_path):
    (tmp_path / "texts").mkdir()
    for n in range(23):
        (tmp_path / "texts" / f"{n:02}.txt").write_text(f"text {n} of many. " * 9, "utf-8")
    origin = prepare([tmp_path / "texts"], tmp_path / "data").origin()
    assert [Path(s["name"]).stem for s in origin["sources"]] == [f"{n:02}" for n in range(20)]
    assert origin["more_sources"] == 3 and origin["train"]["characters"] > 2000


# Tokens ------------------------------------------------------------------------------------------


def test_the_signs_are_those_of_gpt2():
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(signs()) == sorted(ByteLevel.alphabet()) and signs()[ord("A")] == "A"


@pytest.fixture(scope="module")
def theirs():
    return tokenizers.Tokenizer.from_str(json.dumps(foreign(BPE)))


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \n\t'sthe09")))
)
def test_any_text_has_the_same_tokens(theirs, text):
    text = text.replace(END, "")
    assert theirs.encode(text).ids == BPE.encode(text)
    assert theirs.decode(BPE.encode(text), skip_special_tokens=False) == text


@pytest.mark.parametrize("text", [f"the{END}cat", f"the {END} cat", f"{END}{END}\n", f"a{END}1"])
def test_a_mark_is_the_mark_wherever_it_stands(theirs, text):
    assert theirs.encode(text).ids == BPE.encode(text, allowed_special="all")


@given(text=st.text(alphabet="abc 🍎\n"))
def test_characters_have_the_same_ids(text):
    ours = CharTokenizer("abc 🍎\n")
    theirs = tokenizers.Tokenizer.from_str(json.dumps(foreign(ours)))
    assert theirs.encode(text).ids == ours.encode(text)
    assert theirs.decode(ours.encode(text)) == text


# GPT-2 coming in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_gpt2_comes_in_as_it_is(tied, prefix, tmp_path):
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=70, n_positions=16, n_embd=24, n_layer=2, n_head=3, tie_word_embeddings=tied
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = {f"{prefix}{n.removeprefix('transformer.')}" if "lm_head" not in n else n: t.clone()
             for n, t in load_file(file).items()}  # fmt: skip
    state[f"{prefix}h.0.attn.bias"] = torch.ones(1, 1, 16, 16)  # as in the published files
    save_file(state, file)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nh e\nhe l\n", encoding="utf-8")
    ours, tokenizer = from_pretrained(tmp_path)
    idx = torch.randint(70, (2, 16))
    with torch.no_grad():
        assert (ours(idx)[0] - theirs(idx).logits).abs().max() < 1e-4
    assert tokenizer is not None and tokenizer.encode("hel") == [257]
    assert (ours.head.weight is ours.token_embedding.weight) == tied
    ours(idx, idx)[1].backward()  # it can be trained on
    assert not any(t.is_meta for t in [*ours.parameters(), *ours.buffers()])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"[1]"), ("config.json", b"{}"), ("config.json", b"{"),
        ("config.json", b'{"model_type": "gpt2", "n_embd": "x"}'),
        ("config.json", b'{"model_type": "gpt2", "n_embd": [1]}'),
        ("model.safetensors", b"no weights"), ("model.safetensors", b""),
    ],
)  # fmt: skip
def test_a_damaged_folder_of_gpt2_is_refused_in_words(name, content, tmp_path):
    save_checkpoint(tmp_path / "ours", shaken(CLASSIC["as GPT-2"]), tokenizer=BPE)
    export(tmp_path / "ours", tmp_path / "out")
    (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"has a damaged file|has no configuration|is not JSON"):
        from_pretrained(tmp_path / "out")


def test_what_is_no_gpt2_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"must be a folder with config.json and model.safetensors"
    ):
        from_pretrained(tmp_path)
    save_checkpoint(tmp_path / "ours", shaken(CLASSIC["as GPT-2"]), tokenizer=BPE)
    export(tmp_path / "ours", tmp_path / "out")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_bytes((tmp_path / "out" / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"must be a folder with config.json and model.saf"):
        from_pretrained(tmp_path / "half")
    told = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    for changes, reason in (
        ({"model_type": "llama"}, "model_type must be 'gpt2' for a GPT of ours; it is 'llama'"),
        ({"activation_function": "relu"}, "activation_function must be"),
        (
            {"scale_attn_by_inverse_layer_idx": True},
            "scale_attn_by_inverse_layer_idx must be False",
        ),
        ({"n_layer": 3}, "has no weight h.2.ln_1.weight"),
        ({"n_positions": 41}, r"wpe.weight has \(40, 24\), its model \(41, 24\)"),
    ):
        (tmp_path / "out" / "config.json").write_text(json.dumps(told | changes), "utf-8")
        with pytest.raises(ValueError, match=reason):
            from_pretrained(tmp_path / "out")
    del told["n_embd"]
    (tmp_path / "out" / "config.json").write_text(json.dumps(told), "utf-8")
    with pytest.raises(ValueError, match="no configuration of GPT-2: 'n_embd' is missing"):
        from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("name", ["small", "medium", "large", "xl"])
def test_the_published_shapes_fit(name):
    from gptlib.engine.forms import from_gpt2, gpt2_config, gpt2_names

    config = GPTConfig.preset(f"gpt2-{name}")
    assert from_gpt2(gpt2_config(config)) == config
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**gpt2_config(config)))
        ours = GPT(config)
    theirs = dict(model.transformer.named_parameters())
    for own, (their, turned) in gpt2_names(config).items():
        shape = ours.get_parameter(own).shape
        assert theirs.pop(their).shape == (shape[::-1] if turned else shape)
    assert not theirs


# Prints by how many times the file the memory grew that no file backs: at most, while GPT-2 was
# loaded; and once more beside a copy of its weights, to see that the measure would notice one.
LOADS = """
import sys, threading, time
from safetensors.torch import load_file
from gptlib.engine.export import from_pretrained

def anonymous():
    with open("/proc/self/status") as told:
        return next(1024 * int(line.split()[1]) for line in told if line.startswith("RssAnon"))

def watch():
    while running:
        seen.append(anonymous())
        time.sleep(0.001)

folder, size = sys.argv[1], int(sys.argv[2])
before, copies = anonymous(), []
for copy in (False, True):
    if copy:
        copies = [t.clone() for t in load_file(folder + "/model.safetensors").values()]
    running, seen = True, []
    thread = threading.Thread(target=watch)
    thread.start()
    model, _ = from_pretrained(folder)
    running = False
    thread.join()
    print((max(seen) - before) / size)
    del model
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells it so")
def test_gpt2_small_comes_in_from_its_file_without_a_second_copy():
    """The real shape, 124 million random weights.

    XL, whose file has 6 GB, is too large for a test: of it the names and shapes are compared above,
    and it is read by the same loop, a tensor at a time.
    """
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
        theirs.save_pretrained(folder)
        file = Path(folder) / "model.safetensors"
        size = file.stat().st_size
        assert size > 4 * 124_000_000
        ours, _ = from_pretrained(folder)
        idx = torch.randint(50257, (2, 12))
        with torch.no_grad():
            logits, expected = ours(idx)[0], theirs(idx).logits
        assert ours.config == GPTConfig.preset("gpt2-small")
        assert expected.std() > 0.3 and (logits - expected).abs().max() < 1e-4
        del ours, theirs
        command = [sys.executable, "-c", LOADS, folder, str(size)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
        assert told.returncode == 0, told.stderr
        once, beside_a_copy = map(float, told.stdout.split())
        assert 0.9 < once < 1.35 and beside_a_copy > 1.9, told.stdout
