"""What a learner expects before an answer is shown, and whether it came out.

Given, not built. On a page of the book buttons do this, and the browser keeps it. In a notebook the
guesses stand beside the answers, in the learner's folder (work.py), and nowhere else.
"""

from __future__ import annotations

from typing import Any

from gptlib.exercises.work import ANSWERS, answers, folder, note

NAME = "predictions"  # among the answers; no exercise is called that, they all have a dot


def predict(said: str) -> None:
    """Write down a guess, before the answer is looked at. Errors: ValueError for no text.

    A guess that is there already, as when a notebook runs again, stays as it is.
    """
    if not isinstance(said, str) or not said.strip():
        raise ValueError(f'said must be your guess in words, predict("..."); got {said!r}.')
    found = guesses()
    if any(one["said"] == said for one in found):
        print("That guess is noted already; another one needs other words.")
        return
    note(NAME, [*found, {"said": said, "came_out": None}])
    print("Noted. Look at the answer, then say came_out(True) or came_out(False).")


def came_out(right: bool) -> None:
    """Say whether the latest guess came out. Errors: ValueError where there is none, or no bool."""
    if not isinstance(right, bool):
        raise ValueError(f"right must be True or False; got {right!r}.")
    found = guesses()
    if not found:
        raise ValueError('There is no guess yet: write predict("...") before the answer is shown.')
    if found[-1]["came_out"] is None:
        note(NAME, [*found[:-1], {**found[-1], "came_out": right}])
    print(score())


def guesses() -> list[dict[str, Any]]:
    """All guesses so far, in order. Errors: ValueError where the file of answers is damaged."""
    found = answers().get(NAME, [])
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and {"said", "came_out"} <= one.keys() for one in found
    ):
        path = folder() / ANSWERS
        raise ValueError(f"{path} holds no predictions under {NAME!r}. Mend it or rename it.")
    return found


def score() -> str:
    """How many guesses came out, of those that have been looked up; empty where there is none."""
    known = [one["came_out"] for one in guesses() if one["came_out"] is not None]
    if not known:
        return ""
    return f"Predictions: {sum(known)} of {len(known)} came out as you guessed."
