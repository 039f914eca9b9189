"""What all widgets have in common, and the numbers of their scripts beside Python's."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess

import pytest
import torch
from scripts import WIDGETS, in_script, node

import gptlib.widgets
from gptlib.generation import next_token_probs
from gptlib.widgets import DistributionExplorer
from gptlib.widgets.widget import bundle

FACES = [getattr(gptlib.widgets, name) for name in gptlib.widgets.__all__]
STEMS = [face.__module__.rpartition(".")[2] for face in FACES]
SCRIPTS = sorted(path.name for path in WIDGETS.glob("*.js"))


# Every widget ------------------------------------------------------------------------------------


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
    assert not re.search(r"\bfetch\(|XMLHttpRequest|https?:|\.id\s*=|localStorage|eval\(", code)


def test_every_face_is_named_in_its_room():
    assert {f"{stem}.py" for stem in STEMS} | {"widget.py", "__init__.py"} == {
        path.name for path in WIDGETS.glob("*.py")
    }


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


# The distribution explorer -----------------------------------------------------------------------


def test_a_distribution_explorer_checks_what_it_is_given():
    with pytest.raises(ValueError, match=r"shape \(1, 3\).*should be \(1, 2\)"):
        DistributionExplorer(torch.zeros(3), ["a", "b"])
    widget = DistributionExplorer(torch.zeros(2, 3), list("abc"), ["x", "y"])
    with pytest.raises(Exception, match="row must be from 0 to 1"):
        widget.row = 2


def test_a_notebook_keeps_the_widget_and_a_figure_with_words():
    widget = DistributionExplorer(torch.tensor([2.0, 1.0, 0.0]), ["red", "blue", "green"])
    data, about = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert "'red' 66.5%" in about["image/svg+xml"]["alt"]
    assert data["image/svg+xml"].startswith("<svg") and json.dumps(about)
