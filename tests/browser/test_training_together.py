"""Several workers of a page that train together, opened from a folder."""

from __future__ import annotations

import pytest
from test_playing import shown, told_step, training  # noqa: F401 # `shown` is a fixture

# Notes the losses that a page hears of, and the workers that it has.
NOTE = """<head><script>
    [window.losses, window.alive] = [[], 0];
    const Plain = Worker;
    window.Worker = class extends Plain {
        constructor(address) { super(address); window.alive += 1; }
        terminate() { super.terminate(); window.alive -= 1; }
        set onmessage(heard) {
            super.onmessage = (event) => {
                window.losses.push(...(event.data.points ?? []).map((point) => point.loss));
                heard(event);
            };
        }
    };
</script>"""


def note(path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<head>", NOTE, 1), encoding="utf-8")


def whole(page, steps: int = 12) -> list[float]:
    """The losses of a run to the end of its recipe."""
    page.get_by_role("button", name="train").click()
    told_step(page, steps)
    page.get_by_role("button", name="go on", pressed=False).wait_for()
    return page.evaluate("window.losses")


def test_two_workers_have_the_losses_of_one(shown):  # noqa: F811
    one, two = (shown(training(workers=n), spoil=note) for n in (1, 2))
    alone, together = whole(one), whole(two)
    assert (one.evaluate("window.alive"), two.evaluate("window.alive")) == (1, 3)
    assert len(alone) == len(together) == 12
    assert together[0] == pytest.approx(alone[0], rel=1e-6)
    assert together == pytest.approx(alone, rel=1e-5)
    assert "and 2 helpers" in two.locator(".gpt-widget").inner_text()
    assert one.faults == two.faults == []


def test_cores_are_changed_while_it_trains(shown):  # noqa: F811
    """From one to two and back: the same losses, and no worker is left that has nothing to do."""
    page = shown(training(steps=1_000_000), spoil=note)
    page.get_by_role("button", name="train").click()
    cores = page.get_by_role("combobox", name="cores")
    for name, alive in (("2", 3), ("1", 1), ("2", 3)):
        cores.select_option(label=name)
        page.wait_for_function("n => window.alive === n", arg=alive, polling=50)
        seen = page.evaluate("window.losses.length")
        page.wait_for_function("n => window.losses.length > n", arg=seen + 2, polling=50)
    page.get_by_role("button", name="pause").click()
    page.get_by_role("button", name="go on", pressed=False).wait_for()
    losses = page.evaluate("window.losses")
    assert losses[0] == pytest.approx(7.34, abs=0.1) and len(losses) > 9
    page.get_by_role("button", name="begin again").click()
    one = page.get_by_role("button", name="one step")
    for _ in range(3):
        one.click()
        page.wait_for_timeout(100)
    told_step(page, 3)
    again = page.evaluate("window.losses")[len(losses) :]
    assert again == pytest.approx(losses[:3], rel=1e-5)
    assert page.faults == []
