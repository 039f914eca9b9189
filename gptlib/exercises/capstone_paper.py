"""Questions of chapter 12: a plan on paper, a band of seeds, and what pairs of characters reach."""

from __future__ import annotations

import math
from functools import cache
from random import Random
from typing import Any

from gptlib import corpus
from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake
from gptlib.rubric import counting
from gptlib.tokenizer import CharTokenizer


def _recipe(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {
            "rows": 64, "context": 256, "steps": 5000, "tokens": 1_003_854,
            "parameters": 10_745_088,
        }  # fmt: skip
    draw = Random(seed)
    while True:
        told = {
            "rows": 4 * draw.randrange(3, 20), "context": 64 * draw.randrange(1, 9),
            "steps": 500 * draw.randrange(2, 12), "tokens": 10_007 * draw.randrange(50, 300),
            "parameters": 100_003 * draw.randrange(5, 200),
        }  # fmt: skip
        text, each = _read(**told)
        # Where one of these is 1, or nearly, a wrong way gives what the right one gives.
        apart = (text, each, text / each, told["rows"] / told["context"])
        if all(abs(math.log(ratio)) > 0.05 for ratio in apart):
            return told


def _read(rows: int, context: int, steps: int, tokens: int, parameters: int) -> tuple[float, float]:
    seen = rows * context * steps
    return seen / tokens, seen / parameters


READ = Question(
    name="capstone.read",
    asks="A recipe takes {steps} steps of {rows} windows of {context} tokens. The text has "
    "{tokens} tokens, the model {parameters} parameters. How many times is the text read, and how "
    "many tokens are read for a parameter? Two numbers in brackets.",
    figures=_recipe,
    answer=_read,
    within=0.01,
    hints=(
        "How many tokens does a step read, and how many the whole run?",
        "Tokens in all: windows times their length times steps.",
        "rows · context · steps, divided by the tokens of the text, and by the parameters.",
    ),
    mistakes=(
        Mistake(
            "A window has many tokens: their number is missing.",
            lambda rows, context, steps, tokens, parameters: _read(
                rows, 1, steps, tokens, parameters
            ),
        ),
        Mistake(
            "A step has many windows: their number is missing.",
            lambda rows, context, steps, tokens, parameters: _read(
                1, context, steps, tokens, parameters
            ),
        ),
        Mistake(
            "The second number divides the text's own tokens by the parameters. What is read "
            "again counts again.",
            lambda rows, context, steps, tokens, parameters: (
                rows * context * steps / tokens, tokens / parameters
            ),
        ),
        Mistake(
            "The two have changed places.",
            lambda **told: _read(**told)[::-1],
        ),
        Mistake(
            "The second one stands upside down: it is asked for tokens for a parameter.",
            lambda **told: (_read(**told)[0], 1 / _read(**told)[1]),
        ),
    ),
    because="A text that is read many times is a text that can be learned by heart; a parameter "
    "that sees few tokens is one that has hardly been asked.",
)  # fmt: skip


OUTSIDE = Question(
    name="capstone.outside",
    asks="{n} runs of one kind were made with {n} seeds. You make one more, of the same kind. With "
    "which probability does its loss lie outside of the range of those {n}?",
    figures=lambda seed: {"n": 5 if seed == 0 else Random(seed).choice((4, 7, 9, 14, 19))},
    answer=lambda n: 2 / (n + 1),
    within=0.01,
    hints=(
        "Think of all the runs together, yours among them, in the order of their losses. Where "
        "may yours stand?",
        "With n + 1 runs of one kind each place is as likely as any other.",
        "Outside are two of the n + 1 places, the first and the last.",
    ),
    mistakes=(
        Mistake("That is one side: it may lie below or above.", lambda n: 1 / (n + 1)),
        Mistake("Yours is one of the runs, too: there are n + 1 places.", lambda n: 2 / n),
        Mistake("That is the probability of lying inside.", lambda n: (n - 1) / (n + 1)),
        Mistake("These are the others alone, and one side.", lambda n: 1 / n),
    ),
    because="A healthy run lies outside of five others in one case of three: one look at the range "
    "is no diagnosis.",
)


@cache
def _stories() -> dict[str, float]:
    """Losses of single and pair counts of characters, on stories that were not counted."""
    train, exam = (
        "".join(story.text + "\n" for story in corpus.stories(n, seed=seed))
        for n, seed in ((300, 0), (30, 1))
    )
    tokenizer = CharTokenizer(train + exam)
    V, ids = tokenizer.vocab_size, tokenizer.encode(train)
    held, own = counting(ids, tokenizer.encode(exam), V), counting(ids, ids, V)
    return held | {"own": own["bigram"], "even": math.log(V)}


PAIRS = Question(
    name="capstone.pairs",
    asks="Count the characters of corpus.stories(300, seed=0), each story's text followed by a "
    "line end, and ask about corpus.stories(30, seed=1) in the same form, with the characters of "
    "both as vocabulary. What loss do pairs reach, in nats per character?",
    figures=lambda seed: {},
    answer=lambda: _stories()["bigram"],
    within=0.002,
    kind="measurement",
    hints=(
        "CharTokenizer(train + exam) makes the ids, counting(...) the two losses.",
        'train = "".join(story.text + "\\n" for story in corpus.stories(300, seed=0)), and exam '
        "likewise.",
        'counting(tokenizer.encode(train), tokenizer.encode(exam), tokenizer.vocab_size)["bigram"]',
    ),
    mistakes=(
        Mistake("That is what single characters reach.", lambda: _stories()["unigram"]),
        Mistake("That is asked about the text that was counted.", lambda: _stories()["own"]),
        Mistake("That is in bits.", lambda: _stories()["bigram"] / math.log(2)),
        Mistake("That is a model that knows nothing: all characters alike.",
                lambda: _stories()["even"]),
    ),
    because="Whatever you train on such a text has to come out below this, or it has learned less "
    "than a table of pairs.",
)  # fmt: skip

QUESTIONS = (READ, OUTSIDE, PAIRS)
