"""Several workers at one step of the page's training: what one worker has, but for rounding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import traitlets
from bookmodel import book
from scripts import run_script
from test_page_trainee import RECIPE, given

from gptlib.widgets import LiveTraining

OPEN = """
const { Trainee } = await module("trainee.js");
const { helper, portions } = await module("together.js");
const { config, recipe } = given;
const helpers = (n) => portions(recipe.batch_size, n).map((rows) => {
  const answer = helper(config, rows);
  return async (asked) => answer(asked);
});
"""


def test_a_batch_is_cut_into_even_parts():
    code = OPEN + "return [portions(8, 2), portions(8, 3), portions(8, 4), portions(2, 2)];"
    assert run_script(code, given()) == [[4, 4], [3, 3, 2], [2, 2, 2, 2], [1, 1]]


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("mistakes", [[], ["zero_grad", "mask", "reshape", "softmax_twice"]])
def test_workers_together_have_the_losses_and_gradients_of_one(n, mistakes):
    """A step's loss to 1e-6; what was rounded otherwise grows, and ten later steps stay near."""
    code = OPEN + """
        const alone = new Trainee(given), shared = new Trainee(given), all = helpers(given.n);
        const first = [alone.step(), await shared.stepTogether(all)];
        const grads = [alone, shared].map(({ room }) => room.flat.grads.slice());
        const later = [[], []];
        for (let i = 0; i < 10; i++) {
          later[0].push(alone.step().loss);
          later[1].push((await shared.stepTogether(all)).loss);
        }
        return [first, grads, later];
    """  # fmt: skip
    asked = given(recipe=replace(RECIPE, batch_size=8), n=n, mistakes=mistakes)
    first, grads, later = run_script(code, asked)
    assert first[1]["loss"] == pytest.approx(first[0]["loss"], rel=1e-6)
    assert first[1]["grad_norm"] == pytest.approx(first[0]["grad_norm"], rel=1e-5)
    one, many = torch.tensor(grads)
    torch.testing.assert_close(many, one, rtol=0, atol=2e-6 * one.abs().max().item())
    assert later[1] == pytest.approx(later[0], rel=1e-5)


def test_the_worker_waits_for_its_helpers_and_hears_the_page_between_two_steps():
    """What is said in the middle of a step counts behind it: no step is lost or done twice."""
    code = (
        OPEN
        + """
        const { serve } = await module("training_worker.js");
        const { asking } = await module("together.js");
        const said = [], answer = helper(config, 1);
        let held = [];
        const port = () => {
          const one = { postMessage: (asked) => held.push(() => tell(answer(asked))) };
          const tell = (data) => one.onmessage({ data });
          return one;
        };
        const settle = () => new Promise((done) => setTimeout(done));
        const release = async () => { for (const tell of held.splice(0)) tell(); await settle(); };
        const seldom = { examEvery: 1e9, storyEvery: 1e9 };
        const receive = serve((m) => said.push(m), (work) => setTimeout(work), seldom);
        receive({ do: "begin", ...given });
        receive({ do: "help", ports: [port(), port()] });
        const helped = said.at(-1).is;
        receive({ do: "start" });
        await settle();
        await release();
        await settle();
        const waits = held.length; // the second step is under way
        receive({ do: "pause" }); receive({ do: "step" }); receive({ do: "rate", factor: 0.5 });
        await release(); // the second step; then the pause, and the step that was asked for
        await release();
        receive({ do: "help", ports: [] }); receive({ do: "step" });
        const points = said.flatMap((m) => m.points ?? []);
        return [helped, waits, points, said.filter((m) => m.is === "failed")];
    """
    )
    helped, waits, points, failed = run_script(code, given())
    assert helped == "helped" and waits == 2 and failed == []
    assert [point["step"] for point in points] == [1, 2, 3, 4]
    rates = [point["lr"] for point in points]
    assert rates == pytest.approx([4e-3 / 3, 8e-3 / 3, 4e-3, 0.5 * 4e-3], rel=0.02)


def test_so_many_workers_are_none():
    with pytest.raises(traitlets.TraitError, match="workers"):
        LiveTraining(book()[1], exam=4, workers=5)
    with pytest.raises(traitlets.TraitError, match="workers"):
        LiveTraining(book()[1], exam=4, workers=0)
