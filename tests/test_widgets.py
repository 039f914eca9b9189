"""What all widgets have in common, and the numbers of their scripts beside Python's."""

from __future__ import annotations

import importlib
import json
import math
import random
import re
import subprocess
import sys
import unicodedata
from functools import cache
from itertools import chain
from types import SimpleNamespace

import house
import matplotlib.pyplot as plt
import pytest
import regex
import torch
from scripts import WIDGETS, in_script, node, run_script
from test_published_figures import PYTHIA

import gptlib.widgets
from gptlib import corpus
from gptlib.block import TransformerBlock
from gptlib.generation import generate, next_token_probs
from gptlib.given.checks.text import check_text
from gptlib.given.records import load_recorded, record
from gptlib.given.unicode16 import LETTER, NUMBER
from gptlib.gpt import (
    GPT,
    PRESETS,
    GPTConfig,
    flops_per_token,
    non_embedding_parameters,
    parameter_bytes,
    total_parameters,
    training_memory,
)
from gptlib.merges import merge_pair
from gptlib.modern import ModernConfig
from gptlib.tokenizer import BPETokenizer, CharTokenizer, split_text, split_words
from gptlib.training import Run, TrainConfig, learning
from gptlib.widgets import (
    AttentionExplorer,
    DistributionExplorer,
    LiveGPT,
    ModelPicture,
    SignalExplorer,
    Tape,
    TokenizerExplorer,
    TrainingScrubber,
)
from gptlib.widgets.signal_explorer import RATES, SAMPLES, normals
from gptlib.widgets.tokenizer_explorer import readable
from gptlib.widgets.widget import Widget, bundle

PUBLIC = [getattr(gptlib.widgets, name) for name in gptlib.widgets.__all__]
FACES = [thing for thing in PUBLIC if isinstance(thing, type) and issubclass(thing, Widget)]
STEMS = [face.__module__.rpartition(".")[2] for face in FACES]
SCRIPTS = sorted(path.name for path in WIDGETS.glob("*.js"))


# Every widget ------------------------------------------------------------------------------------


def test_on_colab_a_face_asks_for_the_manager_of_other_widgets_by_itself():
    """In a Python of its own, with what anywidget looks for of Colab."""
    code = """
import sys, types
output = types.ModuleType("google.colab.output")
asked = []
output.enable_custom_widget_manager = lambda: asked.append(True)
output._widgets = types.SimpleNamespace(_installed_url="https://manager")
sys.modules["google.colab.output"] = output
import torch
from gptlib.widgets import DistributionExplorer, ModelPicture
from gptlib.gpt import GPTConfig
DistributionExplorer(torch.zeros(2), ["a", "b"])
data, about = ModelPicture(GPTConfig())._repr_mimebundle_()
kind = "application/vnd.jupyter.widget-view+json"
print(asked, about[kind]["colab"]["custom_widget_manager"]["url"], sorted(data) , sorted(about))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("[True] https://manager ")
    assert "image/svg+xml" in said.stdout  # the figure that stands in is there, too


@pytest.mark.parametrize("stem", ["own_page", "training_worker"])
def test_a_script_without_a_face_is_valid_alone_too(stem, tmp_path):
    """A name that two of its modules define would end here."""
    (tmp_path / "whole.mjs").write_text(bundle(f"{stem}.js"), encoding="utf-8")
    answer = subprocess.run([node(), "--check", str(tmp_path / "whole.mjs")], capture_output=True)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("stem", STEMS)
def test_a_face_has_a_script_of_its_name_that_is_valid_alone(stem, tmp_path):
    script = bundle(f"{stem}.js")
    assert "import " not in re.sub(r"//.*", "", script)
    assert len(re.findall(r"^export default \{ render \};", script, flags=re.M)) == 1
    (tmp_path / "whole.mjs").write_text(script, encoding="utf-8")
    code = f"const m = await import('{(tmp_path / 'whole.mjs').as_uri()}'); m.default.render.call"
    answer = subprocess.run(
        [node(), "--input-type=module", "--eval", code], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr  # a name that two modules define ends here


@pytest.mark.parametrize("stem", [*STEMS, "own_page", "training_worker"])
def test_a_whole_script_exports_what_its_last_module_does_and_nothing_else(stem):
    """What it imports loses its exports; the face in a page of its own has the name it is given."""
    own, whole = (WIDGETS / f"{stem}.js").read_text("utf-8"), bundle(f"{stem}.js")
    exports = [re.findall(r"^export .*", code, flags=re.M) for code in (own, whole)]
    assert exports[0] == exports[1]
    for name in re.findall(r"^import (\w+) from", own, flags=re.M):
        assert whole.count(f"\nconst {name} = ") == 1


def test_two_modules_with_one_name_are_found(tmp_path, monkeypatch):
    (tmp_path / "a.js").write_text(
        'import { x } from "./b.js";\nconst y = 1;\nexport default {};\n'
    )
    (tmp_path / "b.js").write_text("export const x = 1;\nconst y = 2;\n")
    monkeypatch.setattr("gptlib.widgets.widget.HERE", tmp_path)
    (tmp_path / "whole.mjs").write_text(bundle("a.js"))
    answer = subprocess.run([node(), "--check", str(tmp_path / "whole.mjs")], capture_output=True)
    assert b"already been declared" in answer.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_asks_nobody_for_anything(name):
    code = re.sub(
        r"//.*", "", (WIDGETS / name).read_text(encoding="utf-8").replace("http://www.w3.org", "")
    )
    assert not re.search(
        r"\bfetch\(|XMLHttpRequest|https?:|\.id\s*=(?!=)|localStorage|eval\(", code
    )


def test_every_face_is_named_in_its_room():
    shared = {"widget.py", "model_file.py", "story_key.py", "own_page.py", "tape.py"} | {
        "__init__.py"
    }
    assert {f"{stem}.py" for stem in STEMS} | shared == {path.name for path in WIDGETS.glob("*.py")}


@pytest.mark.parametrize("ask", ["draw", "words"])
def test_a_face_that_has_no_figure_or_no_words_says_so(ask):
    with pytest.raises(NotImplementedError):
        getattr(Widget(), ask)()


# Sampling ----------------------------------------------------------------------------------------


def settings(rng: random.Random) -> tuple[list, float, int, float]:
    """Random logits with ties and impossible tokens, and random settings."""
    size = rng.choice([1, 2, 5, 60, 300])
    logits = [rng.choice([rng.gauss(0, 3), round(rng.gauss(0, 3))]) for _ in range(size)]
    for i in rng.sample(range(size), size // 4):
        logits[i] = -math.inf
    return (
        logits,
        rng.choice([0, 0.1, 0.7, 1, 2.5]),
        rng.choice([0, 1, 3, 50]),
        rng.choice([1, 0.9, 0.5, 0.05]),
    )


def test_the_page_turns_logits_into_the_probabilities_of_python():
    rng = random.Random(0)
    drawn = [settings(rng) for _ in range(400)]
    calls = [
        [
            "nextTokenProbs",
            ["-Infinity" if z == -math.inf else z for z in logits],
            {"temperature": t, "topK": k, "topP": p},
        ]
        for logits, t, k, p in drawn
    ]
    for (logits, t, k, p), got in zip(drawn, in_script("sampling.js", calls), strict=True):
        top_k = k if 0 < k < len(logits) else None
        wanted = next_token_probs(torch.tensor(logits), t, top_k, p if p < 1 else None)
        torch.testing.assert_close(torch.tensor(got).float(), wanted, atol=1e-5, rtol=0)


def test_the_page_draws_by_the_probabilities():
    probs = [0.5, 0.3, 0.0, 0.2]
    [counts, again, other, nats] = in_script(
        "sampling.js",
        [
            ["sampleCounts", probs, 20_000, 1],
            ["sampleCounts", probs, 20_000, 1],
            ["sampleCounts", probs, 20_000, 2],
            ["entropy", probs],
        ],
    )
    assert counts == again != other and counts[2] == 0 and sum(counts) == 20_000
    for count, p in zip(counts, probs, strict=True):
        assert abs(count / 20_000 - p) < 5 * math.sqrt(0.25 / 20_000)
    assert nats == pytest.approx(-sum(p * math.log(p) for p in probs if p), abs=1e-9)


def test_draws_that_are_counted_fast_are_those_of_sample():
    """Index by index, with impossible tokens among them, and where a rounded sum decides."""
    code = """
        const { randomNumbers, sample, sampleCounts, softmax, sortedDraws } =
          await module("sampling.js");
        const logit = randomNumbers(7);
        return given.map(([size, n, spread]) => {
          const all = softmax(Array.from({ length: size }, () => spread * logit()));
          for (let i = 2; i < size; i += 3) all[i] = 0;
          const total = all.reduce((sum, p) => sum + p);
          const probs = all.map((p) => p / total), random = randomNumbers(size);
          const slow = new Uint32Array(size);
          for (let k = 0; k < n; k++) slow[sample(probs, random)] += 1;
          const drawn = sortedDraws(size), [part, half] = [n / 10, n / 2].map(Math.round);
          const kept = [part, n, half, n].map((k) => sampleCounts(probs, k, size, drawn));
          const anew = [part, n, half, n].map((k) => sampleCounts(probs, k, size));
          return [slow, anew[1], kept, anew];
        });
    """
    sizes = [
        [1, 50, 1],
        [2, 500, 1],
        [7, 5000, 3],
        [1536, 5000, 20],
        [1536, 5000, 0],
        [2**17, 500, 0],
    ]
    found = run_script(code, sizes)
    for (size, n, _), (slow, fast, kept, anew) in zip(sizes, found, strict=True):
        assert slow == fast and sum(fast) == n and len(fast) == size
        assert kept == anew  # more draws are put to those that are there; fewer begin anew


def test_a_draw_at_the_edge_of_two_goes_where_sample_puts_it():
    """Every edge lies where a draw does, but for what rounding makes of it."""
    code = """
        const { randomNumbers, sample, sampleCounts, sortedDraws } = await module("sampling.js");
        return given.map((n) => {
          const edges = [0, ...sortedDraws(n)(n), 1], random = randomNumbers(n);
          const probs = edges.slice(1).map((edge, i) => Math.exp(Math.log(edge - edges[i])));
          const slow = new Uint32Array(probs.length);
          for (let k = 0; k < n; k++) slow[sample(probs, random)] += 1;
          return [slow, sampleCounts(probs, n, n)];
        });
    """
    for slow, fast in run_script(code, [1, 5, 100, 2000]):
        assert slow == fast


# The distribution explorer -----------------------------------------------------------------------


def test_a_distribution_explorer_checks_what_it_is_given():
    with pytest.raises(ValueError, match=r"shape \(1, 3\).*should be \(1, 2\)"):
        DistributionExplorer(torch.zeros(3), ["a", "b"])
    widget = DistributionExplorer(torch.zeros(2, 3), list("abc"), ["x", "y"])
    with pytest.raises(Exception, match="row must be from 0 to 1"):
        widget.row = 2


def test_a_distribution_explorer_takes_what_sampling_takes():
    logits = torch.tensor([2.0, 1.0, 0.0])
    widget = DistributionExplorer(logits, list("abc"))
    torch.testing.assert_close(widget.probs(), logits.softmax(dim=0))
    for temperature, top_k, top_p in ((0, 0, 1), (0.1, 1, 0.01), (1, 2, 0.9), (5, 3, 0.5)):
        widget.temperature, widget.top_k, widget.top_p = temperature, top_k, top_p
        kept = (top_k or None, top_p if top_p < 1 else None)
        assert torch.equal(widget.probs(), next_token_probs(logits, temperature, *kept))
    for name, wrong in (("temperature", -0.1), ("top_k", -1), ("top_p", 0), ("top_p", 1.1),
                        ("n_samples", -1), ("n_samples", 1_000_001)):  # fmt: skip
        with pytest.raises(Exception, match=name):
            setattr(widget, name, wrong)


def test_a_notebook_keeps_the_widget_and_a_figure_with_words():
    widget = DistributionExplorer(torch.tensor([2.0, 1.0, 0.0]), ["red", "blue", "green"])
    data, about = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert "'red' 66.5%" in about["image/svg+xml"]["alt"]
    assert data["image/svg+xml"].startswith("<svg") and json.dumps(about)


# The tokenizer explorer --------------------------------------------------------------------------

SPACES = "".join(chr(i) for i in range(0x3001) if regex.match(r"\s|\p{Cf}", chr(i)))
PIECES = [
    *("'s", "'S", "'ll", "'", " the", "The", " umbrella", "fox", "café", "cafe\u0301", "naïve"),
    *(
        "🍎",
        "👩‍👩‍👧",
        "🏳️‍🌈",
        "🇬🇧",
        "👍🏽",
        "日本語",
        "नमस्ते",
        "Привет",
        "ß",
        "ﬁ",
        "\U00010d4a",
        "\ufeff",
    ),
    *(
        "1234",
        "½",
        "٣",
        "Ⅷ",
        "\U00010d40",
        "3.14",
        "!?",
        "_",
        "...",
        "<|endoftext|>",
        "<|end",
        "\0",
    ),
    *("\u0558", "\U000323b0", "\ua7ce", "\U0002ebf0", "\U000e0041", "\U0010ffff", "\x85", "\x1c"),
]


@cache
def stories_tokenizer() -> BPETokenizer:
    text = corpus.load("stories", n=150)
    return BPETokenizer.train(text, 700, special_tokens=[corpus.END, "<|end", "a(b"])


def awkward_texts(n: int, surrogates: bool = False) -> list[str]:
    """Random texts of words, emoji, all kinds of space and any character, from a fixed seed."""
    rng = random.Random(n)
    halves = [chr(i) for i in (0xD800, 0xD83C, 0xDBFF, 0xDC00, 0xDF4E, 0xDFFF)]

    def piece() -> str:
        kind = rng.randrange(6 if surrogates else 5)
        if kind == 0:
            return rng.choice(SPACES) * rng.choice([1, 1, 2, 5])
        if kind == 1:
            return chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))
        return rng.choice(halves) if kind == 5 else rng.choice(PIECES) * rng.choice([1, 1, 1, 3])

    return ["".join(piece() for _ in range(rng.randrange(14))) for _ in range(n)]


def state(tokenizer: BPETokenizer) -> dict:
    return {
        "merges": [i for pair in tokenizer.merges for i in pair],
        "byteOrder": list(tokenizer.byte_order),
        "specialTokens": list(tokenizer.special_tokens),
    }


def test_the_page_encodes_as_python_does():
    texts = awkward_texts(4000) + [s.text for s in corpus.stories(60, seed=3)]
    plain = stories_tokenizer()
    order = bytes(reversed(range(256)))
    turned = BPETokenizer([(255 - 97, 255 - 98), (256, 255 - 97)], ["ab", "abc"], order)
    calls, wanted = [], []
    for tokenizer in (plain, turned, BPETokenizer([])):
        for allowed in (False, True):
            calls.append(["encodeBatch", state(tokenizer), texts, allowed])
            wanted.append(tokenizer.encode_batch(texts, "all" if allowed else ()))
    got = in_script("bpe.js", calls)
    for theirs, ours in zip(got, wanted, strict=True):
        assert theirs == ours
    assert wanted[0] != wanted[1] and sum(map(len, wanted[0])) > 40_000


def test_the_page_cuts_texts_into_the_words_of_python():
    texts = awkward_texts(3000)
    special = ["<|end", corpus.END, "a(b", "x"]
    got = in_script("bpe.js", [["splitText", text, special] for text in texts])
    assert got == [split_text(text, special) for text in texts]
    # every character there is, by the four kinds that the pattern knows
    code = (
        f"const m = await import({json.dumps((WIDGETS / 'bpe.js').as_uri())});"
        "const alone = (text) => m.splitWords(text).length === 1; let kinds = '';"
        "for (let i = 0; i < 0x110000; i++) { if (i >= 0xd800 && i < 0xe000) continue;"
        "const c = String.fromCodePoint(i);"
        "kinds += alone('a' + c) ? 'L' : alone('1' + c) ? 'N' : alone('!' + c) ? 'o' : 's'; }"
        "console.log(kinds);"
    )
    command = [node(), "--input-type=module", "--eval", code]
    kinds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    for pattern, sign in ((LETTER, "L"), (NUMBER, "N"), (r"\s", "s")):
        ours = {m.start() for m in regex.finditer(pattern, every, flags=regex.V1)}
        assert ours == {m.start() for m in re.finditer(sign, kinds)}


def test_half_a_character_is_an_error_in_both():
    texts = awkward_texts(1500, surrogates=True)
    lone = 0
    for text, got in zip(
        texts, in_script("bpe.js", [["loneSurrogate", text] for text in texts]), strict=True
    ):
        if got < 0:
            assert split_words(check_text(text)) is not None
            continue
        lone += 1
        with pytest.raises(ValueError, match=r"at position \d+: a lone surrogate") as error:
            stories_tokenizer().encode(text)
        # Python counts two surrogates that are one character as two
        before = len(check_text(text[: int(re.search(r"position (\d+)", str(error.value))[1])]))
        assert got == before
    assert 300 < lone < 1400
    with pytest.raises(AssertionError, match="half of a character at position 1"):
        in_script("bpe.js", [["encodeBatch", state(BPETokenizer([])), ["a\ud800"]]])
    with pytest.raises(ValueError, match="lone surrogate"):
        TokenizerExplorer(stories_tokenizer(), "a\ud800")


def states_by_hand(tokenizer: BPETokenizer, text: str) -> list[list[int]]:
    """The ids of `text` after none of its merges, one, two ..., by trying all merges in order."""
    words = [list(word.encode()) for word in split_words(text)]
    states = [list(chain(*words))]
    for pair, new_id in tokenizer.merges.items():
        merged = [merge_pair(word, pair, new_id) for word in words]
        if merged != words:
            words = merged
            states.append(list(chain(*words)))
    return states


def test_each_step_is_the_text_after_so_many_merges():
    tokenizer = stories_tokenizer()
    texts = [t for t in awkward_texts(60) if corpus.END not in t] + ["The fox, the umbrellas", ""]
    for text in texts:
        states = states_by_hand(tokenizer, text)
        words = [tokenizer.encode(word) for word in split_words(text)]
        widget = TokenizerExplorer(tokenizer, text)
        made = widget.merges_made()
        assert len(states) == 1 + len(made)
        ours = []
        for step in range(len(states)):
            widget.step = step
            ours.append(widget.ids())
        assert ours == states and states[-1] == tokenizer.encode(text)
        code = (
            f"const m = await import({json.dumps((WIDGETS / 'bpe.js').as_uri())});"
            f"const t = m.tokenizerOf({json.dumps(state(tokenizer))});"
            f"const words = m.encodeWords(t, {json.dumps(text)});"
            "const made = m.mergesMade(t, words).map(([id]) => id);"
            "const states = [-1, ...made].map((last) => m.wordsAfter(t, words, last));"
            "const next = states.map((state) => m.pairsThatFit(t, state)[0]?.[0] ?? null);"
            "console.log(JSON.stringify([words, made, states.map((s) => s.flat()), next]));"
        )
        if len(states) > 30:  # a node each: the long ones are enough
            run = [node(), "--input-type=module", "--eval", code]
            said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
            assert json.loads(said) == [words, made, states, [*made, None]]


def test_the_two_umbrellas_part_where_chapter_1_says():
    text = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(text, 256 + 355, [corpus.END])  # the book's first merges
    widget = TokenizerExplorer(tokenizer, "an umbrella, two umbrellas")
    made = [i - 255 for i in widget.merges_made()]  # their ranks
    vocab = tokenizer.vocab
    assert made[3] == 32 and vocab[287] == b"as" and vocab[255 + 219] == b"lla"
    widget.step = 3
    assert bytes(widget.ids()[-2:]) == b"as"  # both words have had the same merges
    widget.step = 4
    assert vocab[widget.ids()[-1]] == b"as" and vocab[widget.ids()[-2]] == b"ll"
    widget.step = -1
    said = [vocab[i].decode() for i in widget.ids()]
    assert said == ["an", " umbrella", ",", " two", " umbre", "ll", "as"]
    umbrella = TokenizerExplorer(tokenizer, " umbrella")
    assert len(umbrella.merges_made()) == 8 and len(umbrella.ids()) == 1
    assert TokenizerExplorer(tokenizer, "Привет").merges_made() == []


def test_tokens_are_shown_alike_in_the_page_and_in_python():
    rng = random.Random(1)
    known = [chr(i) for i in range(0x3000) if unicodedata.category(chr(i)) != "Cn"]
    tokens = [rng.randbytes(rng.randrange(1, 6)) for _ in range(500)]
    tokens = [t for t in tokens if all(c in known for c in t.decode(errors="replace"))]
    tokens += ["".join(rng.choices(known, k=3)).encode() for _ in range(2000)]
    tokens += [token for token in stories_tokenizer().vocab if token]
    got = in_script("bpe.js", [["readable", list(token)] for token in tokens])
    assert got == [readable(token) for token in tokens]


def test_a_tokenizer_explorer_checks_what_it_is_given():
    tokenizer = stories_tokenizer()
    with pytest.raises(ValueError, match="with merges; a CharTokenizer has none"):
        TokenizerExplorer(CharTokenizer("ab"))
    with pytest.raises(ValueError, match="a str has none"):
        TokenizerExplorer(tokenizer, others={"mine": "gpt2"})
    with pytest.raises(ValueError, match="'bytes', as another line"):
        TokenizerExplorer(tokenizer, others={"bytes": BPETokenizer([])})
    widget = TokenizerExplorer(tokenizer, "a", others={"characters": CharTokenizer("ab")})
    assert [lane["name"] for lane in widget.lanes] == ["characters", "bytes", "tokens"]
    with pytest.raises(Exception, match="room for 2,000"):
        widget.text = "a" * 2001
    widget.text, widget.special = corpus.END, True
    assert widget.ids() == tokenizer.encode(corpus.END, "all") and widget.merges_made() == []


def test_a_tokenizer_explorer_holds_2000_characters_and_names_twelve_tokens():
    widget = TokenizerExplorer(BPETokenizer([]), "a" * 2000)
    assert len(widget.text) == 2000
    for n, end in ((12, "a (97)."), (13, "a (97), and so on.")):
        widget.text = "a" * n
        tokens = widget.words().partition(" tokens: ")[2]
        assert tokens.endswith(end) and tokens.count("a (97)") == 12


# The model picture -------------------------------------------------------------------------------


def configurations(n: int) -> list[GPTConfig]:
    """All presets, the buttons of the page, and n random configurations."""
    rng = random.Random(n)
    found = [GPTConfig.preset(name) for name in PRESETS]
    found += [GPTConfig(**preset["config"]) for preset in ModelPicture(found[0]).presets]
    for _ in range(n):
        n_head = rng.choice([1, 2, 3, 5, 8, 25])
        found.append(
            GPTConfig(
                vocab_size=rng.randrange(1, 200_000),
                context_length=rng.randrange(1, 9000),
                n_layer=rng.randrange(1, 100),
                n_head=n_head,
                n_embd=n_head * rng.randrange(1, 200),
                bias=rng.random() < 0.5,
                qkv_bias=rng.choice([None, True, False]),
                tied=rng.random() < 0.5,
                norm=rng.choice(["pre", "post"]),
            )
        )
    return found


def test_the_page_counts_what_python_counts():
    rng = random.Random(0)
    configs = configurations(300)
    batches = [rng.choice([1, 8, 300]) for _ in configs]
    calls, wanted = [], []
    for config, batch in zip(configs, batches, strict=True):
        c = vars(config)
        memory = training_memory(config, batch)
        calls += [
            ["nonEmbeddingParameters", c],
            ["totalParameters", c],
            ["parameterBytes", c],
            ["flopsPerToken", c, False],
            ["flopsPerToken", c],
            ["trainingMemory", c, batch],
            ["sums", c, batch],
        ]
        wanted += [
            non_embedding_parameters(config),
            total_parameters(config),
            parameter_bytes(config),
            flops_per_token(config, training=False),
            flops_per_token(config),
            memory,
            {
                "parameters": total_parameters(config),
                "flops": flops_per_token(config, training=False),
                "memory": sum(memory.values()),
            },
        ]
    assert in_script("counting.js", calls) == wanted


@pytest.mark.parametrize("changes", [{}, {"tied": False, "bias": True}, {"norm": "post"}])
def test_the_parts_of_the_picture_are_those_of_the_model(changes):
    config = GPTConfig.preset("stories", **changes)
    [parts] = in_script("counting.js", [["partsOf", vars(config), 2]])
    parts = {part["key"]: part for part in parts if "key" in part}
    model = GPT(config)
    block, idx = model.blocks[0], torch.zeros(2, config.context_length, dtype=torch.long)
    modules = {
        "tokens": model.token_embedding,
        "positions": model.position_embedding,
        "qkv": block.attention.qkv,
        "project": block.attention.project,
        "expand": block.feed_forward.expand,
        "gelu": block.feed_forward.gelu,
        "back": block.feed_forward.project,
        "head": model.head,
    }
    if config.norm == "pre":
        modules["final"] = model.final_norm
    came_out = {}
    for key, module in modules.items():
        module.register_forward_hook(lambda m, i, out, key=key: came_out.update({key: out.shape}))
    model(idx)
    for key, module in modules.items():
        part = parts.pop(key)
        tables = sorted(sorted(p.shape) for p in module.parameters())
        shared = key == "head" and config.tied
        assert sorted(map(sorted, part["tables"])) == ([] if shared else tables)
        shape = list(came_out[key])
        if key == "qkv":  # the picture shows it cut into heads, for one of the three
            batch, n_head, places, size = part["shape"]
            shape, part["shape"] = shape, [batch, places, 3 * n_head * size]
        assert part["shape"] == shape
    assert set(parts) == {"norm1", "norm2", "attention"}


def test_the_code_of_each_part_is_where_the_picture_says():
    [parts] = in_script("counting.js", [["partsOf", vars(GPTConfig()), 1]])
    for part in parts:
        if "add" not in part or "key" in part:
            module, _, name = part["code"].rpartition(".")
            assert getattr(importlib.import_module(module), name).__module__ == module
            chapter = WIDGETS.parents[1] / "chapters" / f"{part['chapter']}.ipynb"
            number = int(part["chapter"][:2])
            assert (
                chapter.exists() and module.split(".")[1] in house.table()["chapters"][str(number)]
            )


def test_a_model_picture_is_its_configuration():
    config = GPTConfig.preset("stories", dropout=0.3)
    widget = ModelPicture(config)
    assert widget.config == config
    widget.n_layer, widget.tied = 7, False
    assert widget.config == GPTConfig.preset("stories", dropout=0.3, n_layer=7, tied=False)
    assert widget.costs()["parameters"] == GPT(widget.config).num_parameters()
    assert f"{widget.costs()['parameters']:,} parameters" in widget.words()
    with pytest.raises(ValueError, match="divisible by n_head"):
        ModelPicture(config, n_head=5)


def test_the_sums_of_chapter_6_s_picture_come_out():
    small = GPTConfig()
    wider = total_parameters(GPTConfig(n_embd=1536)) / total_parameters(small)
    assert round(wider, 1) == 3.4
    assert total_parameters(GPTConfig(n_head=24)) == total_parameters(small)
    calls = [["partsOf", vars(GPTConfig(context_length=n)), 8] for n in (3071, 3072, 3073)]
    for by, parts in zip((-1, 0, 1), in_script("counting.js", calls), strict=True):
        flops = {part["key"]: part["flops"] for part in parts if "key" in part}
        more = flops["attention"] - flops["expand"] - flops["back"]
        assert (more > 0) - (more < 0) == by  # equal at four times the width
    for vocab_size, low, high in ((50257, 0.31, 0.35), (1536, 0.015, 0.025)):
        config = GPTConfig(vocab_size=vocab_size)
        head = (config.n_embd + 2 * vocab_size) * 4 * 8 * config.context_length
        assert low < head / sum(training_memory(config, 8).values()) < high


# The signal explorer -----------------------------------------------------------------------------


def near(got, wanted: torch.Tensor, tolerance: float = 1e-4) -> bool:
    """Is each number within a share of the largest of them all? They may all be tiny, or huge."""
    got = torch.tensor(got, dtype=torch.double).flatten()
    wanted = wanted.double().flatten()
    return bool((got - wanted).abs().max() <= tolerance * wanted.abs().max() + 1e-300)


def stack_settings(rng: random.Random) -> dict:
    drawn = {
        "depth": rng.choice([1, 2, 7, 30]),
        "width": rng.choice([8, 32, 44]),
        "batch": rng.choice([8, 16]),
        "activation": rng.choice(["none", "relu", "gelu", "tanh"]),
        "norm": rng.choice(["none", "pre", "post"]),
        "shortcut": rng.random() < 0.5,
        "gain": rng.choice([0.3, 0.8, 1, 1.5, 2.5]),
        "optimizer": rng.choice(["adam", "sgd"]),
        "seed": rng.randrange(2**32),
        "steps": rng.choice([0, 0, 1, 10]),
    }
    # not drawn: after ten steps some settings are chaos, and none of those that come so
    return {**drawn, "norm_kind": ("layer", "rms")[drawn["seed"] % 2]}


def test_the_page_draws_the_bell_curve_of_python():
    [got] = in_script("stack.js", [["normals", 7, 1000, 4000]])
    assert got == pytest.approx(normals(7, 1000, 4000).tolist(), abs=1e-12)
    assert abs(sum(got) / 4000) < 0.06 and abs(sum(g * g for g in got) / 4000 - 1) < 0.1


def test_the_page_has_pytorchs_forward_and_backward_pass():
    rng = random.Random(0)
    drawn = [stack_settings(rng) for _ in range(40)]
    assert {(s["activation"], s["norm"], s["shortcut"]) for s in drawn} >= {
        ("gelu", "pre", True), ("tanh", "post", True), ("relu", "none", False),
    }  # fmt: skip
    assert len({(s["norm"], s["norm_kind"]) for s in drawn}) == 6
    answers = in_script("stack.js", [["passOf", {**one, "lr": None}] for one in drawn])
    for one, got in zip(drawn, answers, strict=True):
        wanted = SignalExplorer(**one).signals()
        assert got["loss"] == pytest.approx(wanted["loss"], rel=1e-4), one
        assert got["right"] == wanted["right"] and near(got["logits"], wanted["logits"]), one
        for name, key in (("states", "states"), ("stateGradients", "state_gradients")):
            pairs = zip(got[name], wanted[key], strict=True)
            assert all(near(a, b) for a, b in pairs), (one, name)
        assert got["gradients"].keys() == wanted["gradients"].keys()
        for name, gradient in wanted["gradients"].items():
            assert near(got["gradients"][name], gradient), (one, name)


def test_the_fast_exponential_is_the_exponential():
    numbers = [0.0, 1e-300, -1e-9, 708.0, 710.0, -745.0, -800.0, 699.999, -699.999, 1e6, -1e6]
    rng = random.Random(4)
    numbers += [rng.gauss(0, 10 ** (k % 4 - 1)) for k in range(3000)]
    code = """
        const { exp } = await module("fast_exp.js");
        const given_up = [NaN, Infinity, -Infinity].map(exp).map(String);
        return [given.map(exp).map(String), given_up];
    """
    found, special = run_script(code, numbers)
    assert special == ["NaN", "Infinity", "0"]
    for x, got in zip(numbers, found, strict=True):
        wanted = math.exp(x) if x < 709.7 else math.inf
        assert float(got) == pytest.approx(wanted, rel=1e-14 + 2e-16 * abs(x), abs=0), x


@pytest.mark.parametrize("fast", [True, False])
def test_the_fast_product_is_the_product_to_the_last_bit(fast):
    """The three products of a layer, with room for them, and with none left or no WebAssembly."""
    code = """
        const { multiply, workshop } = await module("product.js");
        const shapes = [
          [8, 12, 4, 4, 1, 1, 4], [8, 12, 20, 1, 8, 12, 1], [16, 4, 32, 32, 1, 4, 1],
          [5, 7, 3, 3, 1, 7, 1], [66, 9, 40, 1, 66, 1, 40], [8, 64, 64, 64, 1, 64, 1]];
        if (!given) globalThis.WebAssembly = undefined;
        return shapes.map(([m, n, size, ai, ak, bk, bj]) => {
          const { take, multiply: fast } = workshop(6 * 1024, 64 * 64, 64, 64);
          if (given === "full") take(16384);
          const [a, b, out] = [m * size, size * n, m * n].map((length) => {
            const numbers = take(length);
            numbers.set(Float64Array.from(numbers, () => Math.random() - 0.5));
            return numbers;
          });
          const wanted = new Float64Array(m * n);
          multiply(wanted, n, m, n, size, a, ai, ak, b, bk, bj);
          fast(out, n, m, n, size, a, ai, ak, b, bk, bj);
          const read = (numbers, rows, columns, by, along) => Array.from({ length: rows }, (_, i) =>
            Array.from({ length: columns }, (_, k) => numbers[i * by + k * along]));
          const inputs = [read(a, m, size, ai, ak), read(b, size, n, bk, bj)];
          return [out, wanted, ...inputs, fast === multiply];
        });
    """
    for given in ("room", "full") if fast else (None,):
        for got, wanted, a, b, plain in run_script(code, given):
            assert got == wanted and plain == (not fast)
            product = torch.tensor(a, dtype=torch.double) @ torch.tensor(b, dtype=torch.double)
            assert got == pytest.approx(product.flatten().tolist(), abs=1e-12)


def test_a_stack_that_has_learned_begins_anew_like_a_new_one():
    """Deep and trained, then shallow and not, then deep again: nothing of the past is left."""
    code = """
        const { backward, forward, room, start, step } = await module("stack.js");
        const run = (stack, depth, steps) => {
          const settings = { ...given, depth };
          start(stack, settings);
          for (let t = 0; t <= steps; t++) {
            if (t) step(stack, settings, t);
            forward(stack, settings);
            backward(stack, settings);
          }
          const all = stack.layers.slice(0, depth).flatMap(Object.values);
          return [...all, stack.head.weight, stack.head.bias].map((one) => one.value ?? 0);
        };
        const used = room(given);
        run(used, 6, 3);
        run(used, 2, 0);
        return [run(used, 6, 3), run(room(given), 6, 3)];
    """
    settings = {**stack_settings(random.Random(1)), "norm": "pre", "optimizer": "adam", "lr": None}
    again, fresh = run_script(code, settings)
    assert again == fresh and any(values and max(values) for values in fresh)


def test_the_page_knows_the_rates_and_sizes_of_python():
    script = (WIDGETS / "stack.js").read_text(encoding="utf-8")
    assert f"const LAYERS = {SignalExplorer.depth.max};" in script
    assert f"adam: {RATES['adam']}, sgd: {RATES['sgd']}" in script
    script = (WIDGETS / "signal_explorer.js").read_text(encoding="utf-8")
    assert f"const SAMPLES = {SAMPLES};" in script


def test_sizes_and_histograms_are_counted_right():
    numbers = torch.randn(300, generator=torch.Generator().manual_seed(0)).double()
    numbers[:20] = 0
    some = [2.0**-130, 1e-3, 0.75, 1.0, 1.49, 1.5, 3e38, -1.2]
    size, differ, heights = in_script(
        "stack.js",
        [
            ["sizeOf", numbers.tolist()],
            ["rowsDiffer", numbers.tolist(), 4],
            ["counted", [*numbers.tolist(), 99.0], 2, 8],
        ],
    )
    rows = numbers.view(-1, 4)
    assert size == pytest.approx(numbers.pow(2).mean().sqrt().item())
    assert differ == pytest.approx((rows - rows.mean(dim=0)).pow(2).mean().sqrt().item())
    inner = numbers.clamp(-2 + 1e-9, 2 - 1e-9).histc(8, -2, 2)
    inner[-1] += 1  # what lies beyond is in the last
    assert heights == inner.int().tolist()
    code = """
        const { sizesCounted, sizeBin } = await module("stack.js");
        const begins = (counts) => [...counts].flatMap((n, bin) => Array(n).fill(sizeBin(bin)));
        return [Float32Array, Float64Array].map((kind) => begins(sizesCounted(kind.from(given))));
    """
    for begins in run_script(code, some):
        pairs = list(zip(sorted(abs(x) for x in some), begins, strict=True))
        assert all(begin <= x < 1.5001 * begin for x, begin in pairs[1:]) and pairs[0][1] < 2**-126


def test_axes_of_signals_seldom_jump():
    calls = [["ends", [0.5, 1, 2]], ["ends", [0, 3e-10, 1]], ["ends", [5e20, 1]]]
    calls += [["limitOf", 1], ["limitOf", 0.6], ["power", 1e-12], ["power", 100]]
    answers = in_script("signal_explorer.js", calls)
    assert answers[0] == pytest.approx([1e-3, 1e3]) and answers[1][0] == pytest.approx(1e-12)
    assert answers[2][1] == pytest.approx(1e24) and answers[3:5] == [4, 3]
    assert answers[5:] == ["10⁻¹²", "100"]


class Pile(torch.nn.Module):
    """Blocks that hand each other rows of tokens; answers with a loss or without."""

    def __init__(self, shortcut: bool, with_loss: bool = True):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            TransformerBlock(8, 2, 6, shortcut=shortcut) for _ in range(3)
        )
        self.with_loss = with_loss

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)  # (B, T, C)
        return (x, x.pow(2).mean()) if self.with_loss else x


def test_a_signal_explorer_records_a_model_of_your_own():
    torch.manual_seed(0)
    x = torch.randn(4, 6, 8)  # (B, T, C)
    piles = {"plain": Pile(False), "around": Pile(True)}
    widget = SignalExplorer.of(piles, x)
    for shown, pile in enumerate(piles.values()):
        widget.shown = shown
        assert all(p.grad is None for p in pile.parameters())  # it leaves no traces
        sizes = widget.sizes()
        pile(x)[1].backward()
        weights = [p.grad.flatten() for p in pile.layers[1].parameters() if p.dim() == 2]
        assert sizes["weights"][1] == pytest.approx(
            torch.cat(weights).pow(2).mean().sqrt().item(), rel=1e-5
        )
        state = pile.layers[0](x)
        assert sizes["numbers"][:2] == pytest.approx(
            [x.pow(2).mean().sqrt().item(), state.pow(2).mean().sqrt().item()], rel=1e-5
        )
        rows = state.flatten(0, 1)
        differ = (rows - rows.mean(dim=0)).pow(2).mean().sqrt().item()
        assert sizes["differ"][1] == pytest.approx(differ, rel=1e-5)
        assert sizes["gradients"][0] == 0 < sizes["gradients"][1]  # nobody asked for the input's
    assert widget.names == ["plain", "around"] and widget.depths == [3, 3]
    assert "around, 3 layers" in widget.words()


def test_a_loss_and_layers_may_be_named():
    torch.manual_seed(0)
    pile, x = Pile(True, with_loss=False), torch.randn(2, 6, 8)
    widget = SignalExplorer.of(
        pile, (x,), loss=lambda y: y.sum(), layers=lambda model: model.layers[:2]
    )
    assert widget.depths == [2]
    with pytest.raises(ValueError, match="loss="):
        SignalExplorer.of(pile, x)
    with pytest.raises(ValueError, match="no ModuleList"):
        SignalExplorer.of(torch.nn.Linear(8, 8), x, loss=lambda y: y.sum())
    with pytest.raises(ValueError, match="1 layers were called 0 times"):
        SignalExplorer.of(
            pile, x, loss=lambda y: y.sum(), layers=lambda model: [torch.nn.Linear(8, 8)]
        )


def test_a_signal_explorer_checks_its_settings():
    for wrong in ({"width": 30}, {"depth": 0}, {"activation": "swish"}, {"norm": "batch"}):
        with pytest.raises(Exception, match=next(iter(wrong))):
            SignalExplorer(**wrong)
    words = SignalExplorer(depth=3, gain=0.5).words()
    assert "3 layers, gelu, no norm, no shortcuts, gain 0.5, 0 steps" in words


def page_sizes(**settings) -> dict:
    """What the page finds with three seeds: sizes at the top, gradients at both ends, the loss."""
    plain = {"width": 32, "batch": 16, "norm": "none", "shortcut": False, "gain": 1, "lr": None}
    plain |= {"optimizer": "adam", "steps": 0} | settings
    answers = in_script("stack.js", [["passOf", {**plain, "seed": seed}] for seed in range(3)])
    depth, tensor = settings["depth"], torch.tensor
    found = []
    for one in answers:
        top = tensor(one["states"][-1], dtype=torch.double).view(16, 32)
        ends = [one["gradients"][f"layers.{n}.linear.weight"] for n in (0, depth - 1)]
        low, high = (tensor(g, dtype=torch.double).norm() for g in ends)
        found.append((top, top - top.mean(dim=0), low / high, one["loss"], one["right"]))
    tops, differ, ratios, losses, right = zip(*found, strict=True)
    sizes = [sorted(x.pow(2).mean().sqrt().item() for x in some) for some in (tops, differ)]
    return {
        "top": sizes[0], "differ": sizes[1], "ratio": sorted(r.item() for r in ratios),
        "loss": sorted(losses), "right": sorted(right),
    }  # fmt: skip


def test_chapter_4_says_what_its_signals_show():
    bends = {a: page_sizes(depth=30, activation=a) for a in ("none", "relu", "gelu", "tanh")}
    assert bends["none"]["top"][0] > 0.3 and bends["relu"]["top"][2] < 1e-3
    assert 1e-10 < bends["gelu"]["top"][0] < bends["gelu"]["top"][2] < 1e-8
    assert 0.05 < bends["tanh"]["top"][0] < bends["tanh"]["top"][2] < 0.2
    righted = page_sizes(depth=30, activation="relu", gain=1.4)["top"]
    assert 0.1 < righted[0] < righted[2] < 1
    bent = page_sizes(depth=30, activation="relu", norm="pre")
    straight = page_sizes(depth=30, activation="none", norm="pre")
    assert all(0.5 < top < 1.2 for top in bent["top"] + straight["top"])
    assert bent["ratio"][0] > 100 and all(1 / 3 < r < 3 for r in straight["ratio"])


def test_chapter_5_says_what_its_signals_show():
    deep = {"depth": 64, "activation": "gelu"}
    before, after = page_sizes(**deep), page_sizes(**deep, steps=50)
    assert before["top"][2] < 2e-19 and after["top"][0] > 1e14 * before["top"][2]
    assert after["differ"][2] < 2e-19 and after["loss"] == pytest.approx([math.log(4)] * 3)
    around, around_50 = (page_sizes(**deep, shortcut=True, steps=n) for n in (0, 50))
    assert 1e10 < around["top"][0] < around["top"][2] < 1e11 and around_50["loss"][0] > 1e4
    both = page_sizes(**deep, shortcut=True, norm="pre", steps=50)
    assert both["right"] == [16, 16, 16] and both["loss"][2] < 0.01
    norms = page_sizes(**deep, norm="pre")
    assert all(0.5 < top < 0.8 for top in norms["top"]) and norms["ratio"][0] > 1000
    assert page_sizes(**deep, norm="pre", shortcut=True)["ratio"][2] < 50


def test_the_figure_that_stands_in_is_not_shown_beside_the_widget():
    plt.close("all")
    for widget in (ModelPicture(GPTConfig()), TokenizerExplorer(stories_tokenizer())):
        assert widget._repr_mimebundle_()[0]["image/svg+xml"].startswith("<svg")
        assert plt.get_fignums() == []  # a notebook shows each open figure after the cell


# The training scrubber ---------------------------------------------------------------------------

LETTERS = CharTokenizer("lower, lowest; and <more>")


def short_run(tape=None, steps=6) -> tuple[Run, list]:
    """A few steps with dropout, as `train` makes them, with a tape beside them or without."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(LETTERS.vocab_size, 24, 2, n_head=2, n_embd=16, dropout=0.2))
    ids = torch.tensor(LETTERS.encode("lower, lowest; and <more> " * 20))
    config = TrainConfig(steps=steps, batch_size=4, context_length=24, lr=0.01, device="cpu")
    run, all_metrics = Run(model, ids, config), []
    with learning(model):
        for step in range(steps + 1):
            metrics = run.update() if step else {"loss": None, "grad_norm": None}
            all_metrics.append({**metrics, "val_loss": 3.0 - 0.1 * step, "early": step / 10})
            if tape is not None:
                tape(step, model, all_metrics[-1])
    return run, all_metrics


def test_a_tape_leaves_the_run_as_it_is():
    without, metrics = short_run()
    left = torch.get_rng_state()
    tape = Tape(LETTERS, "lower, low", at=[0, 2, 3, 6], max_new_tokens=5)
    modes = []
    beside, same = short_run(lambda *now: (tape(*now), modes.append(now[1].training)))
    assert [m["step"] for m in tape.moments] == [0, 2, 3, 6] and all(modes)
    assert [m["loss"] for m in same] == [m["loss"] for m in metrics]
    pairs = zip(without.model.parameters(), beside.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) and torch.equal(left, torch.get_rng_state())


def test_a_tape_holds_what_pytorch_says_of_each_moment():
    tape = Tape(LETTERS, "lower, low", at=[0, 5, 6], max_new_tokens=5)
    kept = []

    def keep(step, model, metrics):
        tape(step, model, metrics)
        weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        kept.append((weights, grads))

    run, metrics = short_run(keep)
    told, model = tape.run(["block 1, head 1"]), run.model.eval()
    assert told["layers"] == ["embedding", "block 0", "block 1"]
    assert told["gradients"][0] == told["updates"][0] == [None] * 3
    for moment, step in ((1, 5), (2, 6)):
        (before, _), (after, grads) = kept[step - 1], kept[step]
        for layer, start in enumerate(("", "blocks.0", "blocks.1")):
            names = [n for n in after if n.startswith(start) and after[n].dim() > 1]
            names = [n for n in names if layer or not n.startswith("blocks")]
            old, new = (torch.cat([w[n].flatten() for n in names]) for w in (before, after))
            moved = ((new - old).norm() / old.norm()).item()
            assert told["updates"][moment][layer] == pytest.approx(moved, rel=1e-3)
            clipped = math.hypot(*(g.norm().item() for g in grads.values()))
            part = math.hypot(*(grads[n].norm().item() for n in names))
            wanted = metrics[step]["grad_norm"] * part / clipped  # before clipping
            assert told["gradients"][moment][layer] == pytest.approx(wanted, rel=1e-3)
    assert metrics[1]["grad_norm"] > 1  # clipping has cut something
    assert told["val"] == [3.0, 2.5, 2.4] and told["skills"] == {"early": [0.0, 0.5, 0.6]}
    losses = [m["loss"] for m in metrics[1:]]
    assert told["train"] == [None, *(pytest.approx(sum(losses[:n]) / n, rel=1e-3) for n in (5, 6))]
    idx = torch.tensor([LETTERS.encode("lower, low")])
    places = torch.arange(idx.size(1))
    with torch.no_grad():
        states = [model.token_embedding(idx) + model.position_embedding(places)]
        for block in model.blocks:
            states.append(block(states[-1]))
        look = model.blocks[1].attention.weights(model.blocks[1].norm_1(states[1]))[0, 1]  # (T, T)
    assert told["text"][-1] == LETTERS.decode(
        generate(model, idx, 5, temperature=0)[0, 10:].tolist()
    )
    code = """const { runOf } = await module("tape.js"); const run = runOf(given);
        return [[0, 1, 2].map((l) => [...run.histogram(2, l)]), [...run.look(2, 0)]];"""
    bars, bytes_seen = run_script(code, told)
    assert bytes_seen == pytest.approx((255 * look).flatten().tolist(), abs=0.51)
    for layer, state in enumerate(states):
        limit = told["limits"][layer]
        heights = state.flatten().clamp(-limit, limit).histc(25, -limit, limit)
        assert bars[layer] == pytest.approx((255 * heights / heights.max()).tolist(), abs=16)
        assert max(bars[layer]) == 255


def test_a_tape_and_a_scrubber_check_what_they_are_given():
    with pytest.raises(ValueError, match=r"steps to record, at=\[0"):
        Tape(LETTERS, "lower", at=[])
    with pytest.raises(ValueError, match="a prompt of some tokens"):
        Tape(LETTERS, "", at=[0])
    with pytest.raises(ValueError, match="the tape is empty"):
        TrainingScrubber(Tape(LETTERS, "lower", at=[0]))
    with pytest.raises(ValueError, match="30 tokens; the model can see 24"):
        short_run(Tape(LETTERS, "lower " * 5, at=[0]), steps=1)
    tape = Tape(LETTERS, "lower", at=[0, 1])
    short_run(tape, steps=1)
    with pytest.raises(
        ValueError, match=r"names \['block 7, head 0'\]; the model has block 0, head 0"
    ):
        TrainingScrubber(tape, heads=["block 7, head 0"])
    with pytest.raises(ValueError, match="must hold a run"):
        TrainingScrubber({})
    widget = TrainingScrubber({"healthy": tape, "mine": tape}, floor=1.6)
    for name, n in (("shown", 2), ("moment", 2), ("head", 2), ("query", 5)):
        with pytest.raises(Exception, match=f"{name} must be below {n}; got 9"):
            setattr(widget, name, 9)
    assert "healthy, 2 moments, here step 1." in widget.words()
    assert "2.90 here, 81% above the floor." in widget.words()


def test_moments_are_found_and_axes_hold_all_values():
    calls = [["momentAt", [0, 10, 50], step] for step in (0, 9, 10, 49, 80)]
    calls += [["nearest", [0, 10, 50], step] for step in (-5, 4, 31, 99)]
    assert in_script("tape.js", calls) == [0, 0, 1, 1, 2, 0, 0, 2, 2]
    spans = in_script(
        "tape.js", [["spanOf", [None, 0, 2, 8]], ["spanOf", [1e-9, 1]], ["spanOf", []]]
    )
    assert spans[0][0] < 2 and spans[0][1] > 8
    assert spans[1] == pytest.approx([1.15e-6, 1.15]) and spans[2] == [0.1, 10]


def test_the_book_s_model_looks_back_at_the_colour():
    """At the end of chapter 7's run: a head of block 1 sees the colour, and both words come."""
    text = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(text, 1536, special_tokens=[corpus.END])
    model = GPT(GPTConfig.preset("stories"))
    load_recorded(model)
    end = tokenizer.special_tokens[corpus.END]
    prompt = next(s.text for s in corpus.stories(20, seed=1) if s.text.startswith("Tom was"))
    tape = Tape(tokenizer, prompt[: prompt.index(" white umbrella in")], [0], 4, stop=end)
    tape(0, model, {})
    told = tape.run()
    assert told["heads"][0] == "block 1, head 2" and told["text"][0].startswith(" white umbrella")
    widget = TrainingScrubber(told)
    assert widget.now()["attention"][told["tokens"].index(" white")] > 0.9


def test_the_lab_is_on_tape_with_every_patient():
    lab = record("patients")
    widget = TrainingScrubber.lab(lab, shown=6)
    assert [run["name"] for run in widget.runs] == [
        "healthy",
        *(f"patient {n}" for n in range(1, 16)),
    ]
    assert widget.now()["step"] == 300 and widget.now()["val"] == lab["runs"]["no_mask"]["val"][-1]
    assert len(json.dumps(widget.runs)) < 200_000  # what a page has to carry


# What a learner passes by mistake ----------------------------------------------------------------


def small(**sizes) -> GPT:
    return GPT(GPTConfig(vocab_size=7, **{**TINY, **sizes}))


TINY = {"context_length": 8, "n_layer": 1, "n_head": 1, "n_embd": 8}
SEVEN, EIGHT = CharTokenizer("abcdefg"), CharTokenizer("abcdefgh")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: LiveGPT(small(), SEVEN, "a", temprature=1),
            "no setting 'temprature'.* temperature",
        ),
        (lambda: LiveGPT(small(), EIGHT, "a"), "Take the tokenizer that it was trained with"),
        (lambda: LiveGPT(SEVEN, small(), "a"), "model must be a GPT; got CharTokenizer"),
        (lambda: LiveGPT(small(), SEVEN, "x"), "'x' at position 0"),
        (lambda: AttentionExplorer(small(), SEVEN, "abc"), "text comes before tokenizer"),
        (lambda: AttentionExplorer(small(), "abc", None), "tokenizer must be one of gptlib's"),
        (lambda: AttentionExplorer({}, "abc", SEVEN), "got none"),
        (lambda: DistributionExplorer(torch.zeros(1, 7), SEVEN), r"tokenizer\.decode"),
        (lambda: ModelPicture({"n_layer": 2}), "must be a GPTConfig.* got dict"),
        (lambda: ModelPicture(None), "must be a GPTConfig.* got NoneType"),
        (lambda: ModelPicture(ModernConfig.preset("stories")), "got ModernConfig, which has no "),
        (lambda: ModelPicture(SimpleNamespace(**vars(GPTConfig()))), r"got SimpleNamespace\.$"),
        (lambda: SignalExplorer.of({}, torch.zeros(1, 2)), "got none"),
        (lambda: SignalExplorer.of(None, torch.zeros(1, 2)), "got NoneType"),
        (lambda: TrainingScrubber(None), "must be a Tape, or runs by name"),
        (lambda: TrainingScrubber({"a": 5}), "'a' must be a Tape, or a run with the steps"),
        (lambda: TrainingScrubber({"step": [], "val": []}), "with the steps it knows"),
        (lambda: TrainingScrubber({"step": [3, 1], "val": []}), "whole numbers that grow"),
        (lambda: TrainingScrubber({"step": ["a"], "val": []}), "whole numbers that grow"),
        (lambda: TrainingScrubber({"step": [0], "val": [1.0, 2.0]}), "has 2 in val for 1 steps"),
        (lambda: Tape(None, "abc", at=[0]), "tokenizer must be one of gptlib's"),
    ],
)
def test_a_mistake_is_answered_in_words(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_any_precision_is_looked_into(kind):
    model = small(n_layer=2).to(kind)
    wanted = AttentionExplorer(small(n_layer=2), "abcabc", SEVEN).weights()
    assert AttentionExplorer(model, "abcabc", SEVEN).weights().shape == wanted.shape
    assert LiveGPT(model, SEVEN, "abc").probs().sum().item() == pytest.approx(1, abs=1e-4)
    model.blocks[0].register_forward_hook(lambda m, i, out: -2 * out)
    with pytest.raises(ValueError, match="computes something else"):
        AttentionExplorer(model, "abcabc", SEVEN)


def test_a_picture_may_be_made_of_a_whole_model():
    model = small()
    assert ModelPicture(model).config == model.config
    assert ModelPicture(torch.compile(model)).costs() == ModelPicture(model.config).costs()


# Total parameters, as the models' own page lists them beside those without the tables.
PYTHIA_TOTALS = {
    "70M": 70_426_624, "160M": 162_322_944, "410M": 405_334_016, "1.0B": 1_011_781_632,
    "1.4B": 1_414_647_808, "2.8B": 2_775_208_960, "6.9B": 6_857_302_016, "12B": 11_846_072_320,
}  # fmt: skip


def test_the_buttons_have_pythia_s_published_sizes():
    widget = ModelPicture(GPTConfig.preset("gpt2-small"))
    buttons = {one["label"]: one for one in widget.presets if one["group"] == "Pythia"}
    assert list(buttons) == list(PYTHIA_TOTALS) == list(PYTHIA)
    for size, (n_layer, n_embd, n_head, _, without_tables) in PYTHIA.items():
        config = GPTConfig(**buttons[size]["config"])
        assert (config.n_layer, config.n_embd, config.n_head) == (n_layer, n_embd, n_head)
        assert non_embedding_parameters(config) == without_tables
        places = config.context_length * n_embd  # Pythia turns queries and keys instead
        assert total_parameters(config) - places == PYTHIA_TOTALS[size]


def test_a_picture_begins_with_the_sizes_it_is_given_and_keeps_what_costs_nothing():
    given = GPTConfig(50, 12, n_layer=3, n_head=2, n_embd=8, tied=False, dropout=0.3)
    widget = ModelPicture(given)
    assert widget.config == given and widget.batch_size == 8
    widget.n_layer = 5
    assert widget.config == GPTConfig(50, 12, n_layer=5, n_head=2, n_embd=8, tied=False,
                                      dropout=0.3)  # fmt: skip
    assert f"It has {total_parameters(widget.config):,} parameters" in widget.words()
