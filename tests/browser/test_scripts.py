"""The widgets' mathematics in Chromium: tests that hold the scripts to Python, run there too."""

from __future__ import annotations

import base64
import json
from functools import partial

import pytest
import test_attention_explorer
import test_cache_growth
import test_expert_routing
import test_page_grammar
import test_page_model
import test_page_trainee
import test_page_training
import test_rotation_explorer
import test_widgets
from looking import serve
from scripts import WIDGETS

RUN = """async ([code, given, data]) => {
    const known = (key, x) => (x === "-Infinity" ? -Infinity : x);
    const plain = (key, x) => (ArrayBuffer.isView(x) ? Array.from(x) : x);
    const module = (name) => import(`${location.origin}/${name}`);
    const work = new (async () => {}).constructor("module", "given", "data", code);
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    return JSON.stringify(await work(module, JSON.parse(given, known), bytes) ?? null, plain);
}"""
CALL = """
const script = await module(given.file);
return given.calls.map(([name, ...given]) => script[name](...given));
"""
CONFIGS = test_page_model.CONFIGS


def with_patches(holds):
    """The same test, with patches of its own that are taken back at its end."""

    def call():
        with pytest.MonkeyPatch.context() as patches:
            holds(patches)

    return call


SAME = [
    test_widgets.test_the_page_turns_logits_into_the_probabilities_of_python,
    test_widgets.test_the_page_encodes_as_python_does,
    test_widgets.test_half_a_character_is_an_error_in_both,
    test_widgets.test_the_page_counts_what_python_counts,
    test_cache_growth.test_the_page_counts_a_cache_as_python_does,
    test_expert_routing.test_the_page_reads_and_counts_what_the_traits_hold,
    test_widgets.test_the_page_has_pytorchs_forward_and_backward_pass,
    partial(test_widgets.test_the_fast_product_is_the_product_to_the_last_bit, True),
    test_page_model.test_single_functions_are_those_of_pytorch,
    *(
        partial(test_page_model.test_the_page_has_the_logits_of_pytorch, c)
        for c in CONFIGS.values()
    ),
    partial(
        test_page_model.test_the_fast_way_has_the_logits_of_pytorch_too, CONFIGS["stories"], True
    ),
    test_widgets.test_the_fast_exponential_is_the_exponential,
    *(
        partial(test_attention_explorer.test_the_page_has_the_numbers_of_the_face, name, "float32")
        for name in test_attention_explorer.MODELS
    ),
    test_page_grammar.test_the_page_judges_as_python_does,
    partial(test_page_grammar.test_the_fast_product_is_the_product, 13, 64, 24),
    test_rotation_explorer.test_the_page_turns_and_scores_as_rope_does,
    *(
        partial(test_page_training.test_every_gradient_is_that_of_pytorch, c, False)
        for c in test_page_training.FOUR.values()
    ),
    *(
        partial(
            test_page_model.test_a_modern_model_has_the_logits_of_pytorch_in_any_pieces_and_with_parts_off,
            c,
        )
        for c in test_page_model.MODERNS.values()
    ),
    partial(test_page_training.test_twenty_steps_are_those_of_pytorch, False, 1.0),  # AdamW
    with_patches(test_page_training.test_sixty_steps_with_muon_are_those_of_pytorch),
    test_page_grammar.test_the_page_marks_the_exam_as_python_does,
    test_page_trainee.test_its_exam_is_the_answer_key,
    test_widgets.test_draws_that_are_counted_fast_are_those_of_sample,
]


@pytest.fixture
def chromium_runs(browser, monkeypatch):
    """What those tests give to node goes to Chromium instead."""
    from playwright.sync_api import Error

    server, address = serve(WIDGETS)
    page = browser.new_page()
    page.goto(f"{address}/gpt.js")

    def run_script(code: str, given: object = None, data: bytes = b"") -> object:
        packed = base64.b64encode(data).decode()
        try:
            return json.loads(page.evaluate(RUN, [code, json.dumps(given), packed]))
        except Error as error:
            raise AssertionError(str(error)) from error  # as where node ends with one

    def in_script(file: str, calls: list[list]) -> list:
        return run_script(CALL, {"file": file, "calls": calls})

    for tests in (
        *(test_attention_explorer, test_page_grammar, test_page_model, test_widgets),
        *(test_cache_growth, test_expert_routing, test_rotation_explorer),
        *(test_page_training, test_page_trainee),
    ):
        for stand_in in (run_script, in_script):
            monkeypatch.setattr(tests, stand_in.__name__, stand_in, raising=False)
    yield page
    page.close()
    server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("holds", SAME)
def test_chromium_computes_what_python_does(chromium_runs, holds):
    holds()
    loaded = chromium_runs.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    assert any(name.endswith(".js") for name in loaded)  # Chromium did the work
