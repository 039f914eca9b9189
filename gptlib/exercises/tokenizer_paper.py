"""Questions of chapter 1: on paper, and one measurement."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

from gptlib import corpus
from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake
from gptlib.merges import count_pairs, train_merges
from gptlib.tokenizer import BPETokenizer

TEXTS = (
    "banana bandana",
    "cocoa and cocos",
    "papa has a papaya",
    "anna and hanna",
    "singing a song sing",
)


def _top(text: str) -> tuple[str, int]:
    """The most frequent pair of a text as text, and how often it stands there."""
    (pair, count), *_ = count_pairs(list(text.encode())).most_common(1)
    return bytes(pair).decode(), count


FIRST_MERGE = Question(
    name="tokenizer.first_merge",
    asks="Which pair does BPE merge at its first step in {text}, taken as one word, and how many "
    "ids are left after that merge? Answer in the form (pair, number).",
    figures=lambda seed: {"text": TEXTS[seed % len(TEXTS)]},
    answer=lambda text: (_top(text)[0], len(text) - _top(text)[1]),
    hints=(
        "Which two letters stand side by side most often? Count the space as a letter, too.",
        "Each merge puts one id in the place of two. By how many ids does the text get shorter?",
        "The number of characters, less the number of places where the pair stands.",
    ),
    mistakes=(
        Mistake(
            "The pair is right. One id is put in the place of two, so each place costs one id.",
            lambda text: (_top(text)[0], len(text) - 2 * _top(text)[1]),
        ),
        Mistake(
            "The pair is right, and this is how often it stands there. How many ids are left?",
            lambda text: _top(text),
        ),
        Mistake(
            "The pair is right. It is merged in all its places at one step.",
            lambda text: (_top(text)[0], len(text) - 1),
        ),
        Mistake(
            "The pair is right. After the merge the text is shorter than it was.",
            lambda text: (_top(text)[0], len(text)),
        ),
        Mistake(
            "The pair is right. The spaces are ids as well: the text is taken as one word.",
            lambda text: (_top(text)[0], len(text.replace(" ", "")) - _top(text)[1]),
        ),
    ),
    because="Each place where the pair stood had two ids and has one now.",
)

TIES = (("ab", "xy"), ("no", "at"), ("up", "on"), ("zoo", "ad"), ("it", "by"))


def _pairs(words: tuple[str, str]) -> list[tuple[int, int]]:
    return [(word.encode()[0], word.encode()[1]) for word in words]


TIE = Question(
    name="tokenizer.tie",
    asks="`train_merges` learns one merge from the words {words}, each counted three times. Which "
    "pair wins? Answer with the two ids in brackets.",
    figures=lambda seed: {"words": TIES[seed % len(TIES)]},
    answer=lambda words: next(iter(train_merges(dict.fromkeys(words, 3), 1))),
    hints=(
        "How often does each pair stand there? What is the rule for two of the same count?",
        "The smallest pair of ids wins: write both pairs as bytes, and compare their first ids.",
        "ord('a') is 97, ord('b') is 98, and so on through the alphabet.",
    ),
    mistakes=(
        Mistake(
            "The counts are equal, and among equals the smallest pair of ids wins, not the "
            "largest, as it would in subword-nmt.",
            lambda words: max(_pairs(words)),
        ),
        Mistake(
            "These are the letters. The merges are kept as ids, which at the start are bytes.",
            lambda words: tuple(map(chr, min(_pairs(words)))),
        ),
        Mistake(
            "This is the id that the merged pair gets. Which two ids are merged?",
            lambda words: 256,
        ),
        Mistake(
            "The ids are right and stand the wrong way round.",
            lambda words: min(_pairs(words))[::-1],
        ),
        Mistake(
            "The letters are numbered from 0; the ids of the letters are their bytes, a is 97.",
            lambda words: tuple(i - 97 for i in min(_pairs(words))),
        ),
    ),
    because="The counts are equal, so the smallest pair of ids wins, in whatever order they came.",
)

WRITTEN = ("Zoë ate 🍎🍎", "größe 🍎", "東京 🍎", "λόγος 🦊", "déjà lu 🍎🍎")


def _ascii(text: str) -> int:
    return sum(char.isascii() for char in text)


UTF8 = Question(
    name="tokenizer.utf8",
    asks="How many bytes does {text} take in UTF-8?",
    figures=lambda seed: {"text": WRITTEN[seed % len(WRITTEN)]},
    answer=lambda text: len(text.encode()),
    hints=(
        "Which of these characters are English letters or spaces, and which are not?",
        "An English letter takes one byte, a letter with an accent or a Greek one two, most "
        "Chinese signs three, an emoji four.",
        "Write the number of bytes below each character, and add them up.",
    ),
    mistakes=(
        Mistake(
            "This is the number of characters; some take more than one byte.",
            lambda text: len(text),
        ),
        Mistake(
            "Every character that is not an English letter is counted as two bytes; an emoji "
            "takes more.",
            lambda text: 2 * len(text) - _ascii(text),
        ),
        Mistake(
            "Every character that is not an English letter is counted as four bytes; most letters "
            "take fewer.",
            lambda text: 4 * len(text) - 3 * _ascii(text),
        ),
        Mistake(
            "Every character is counted as four bytes: that is UTF-32.", lambda text: 4 * len(text)
        ),
        Mistake(
            "The spaces are left out; a space is a byte like any other.",
            lambda text: len(text.replace(" ", "").encode()),
        ),
    ),
    because="One byte for an English letter or a space, two to four for each of the others.",
)

SIZES = ((1000, 128, 16), (5000, 256, 8), (777, 64, 32), (2048, 100, 4), (90, 8, 5))

WINDOWS = Question(
    name="tokenizer.windows",
    asks="A text has {n} tokens. How many different windows of {T} tokens with their targets does "
    "it hold, and how many questions with an answer does a batch of {B} such windows ask? Answer "
    "with two numbers in brackets.",
    figures=lambda seed: dict(zip(("n", "T", "B"), SIZES[seed % len(SIZES)], strict=True)),
    answer=lambda n, T, B: (n - T, B * T),
    hints=(
        "How many ids of the text does a window need, with the answer to its last place?",
        "The last window begins where T + 1 ids are left. And every place of a window is a "
        "question.",
        "The beginnings are 0 to n - T - 1. Count them; then multiply B by T.",
    ),
    mistakes=(
        Mistake(
            "The first number is one too many: the last place of a window needs its answer, too.",
            lambda n, T, B: (n - T + 1, B * T),
        ),
        Mistake(
            "The first number is one too small: count the beginnings from 0 to n - T - 1.",
            lambda n, T, B: (n - T - 1, B * T),
        ),
        Mistake(
            "The windows need not lie side by side: one may begin at any place with room for it.",
            lambda n, T, B: (n // T, B * T),
        ),
        Mistake(
            "A window asks more than one question: each of its places has an answer.",
            lambda n, T, B: (n - T, B),
        ),
        Mistake(
            "The last place of a window has an answer: the id after the window is cut, too.",
            lambda n, T, B: (n - T, B * (T - 1)),
        ),
        Mistake(
            "A window cannot begin at the end of the text, where there is no room for it.",
            lambda n, T, B: (n, B * T),
        ),
    ),
    because="A window with its answers takes T + 1 ids, and each of its T places is a question.",
)

TABLES = ((1536, 1, 128), (50257, 1, 768), (4096, 4, 64), (640, 2, 32), (8192, 8, 256))

ENTRIES = Question(
    name="tokenizer.entries",
    asks="A tokenizer by bytes and merges has {V} entries, {s} of them special. How many merges "
    "has it learned, and how many numbers does a table hold that has a row of {C} numbers for "
    "each entry? Answer with two numbers in brackets.",
    figures=lambda seed: dict(zip(("V", "s", "C"), TABLES[seed % len(TABLES)], strict=True)),
    answer=lambda V, s, C: (V - 256 - s, V * C),
    hints=(
        "The ids come in three parts. What is in each of them?",
        "256 bytes, then the merges, then the special tokens; all of them have a row.",
        "V - 256 - s for the merges; V rows of C numbers each.",
    ),
    mistakes=(
        Mistake(
            "The bytes are entries of their own: no merge had to be learned for them.",
            lambda V, s, C: (V - s, V * C),
        ),
        Mistake(
            "A special token is no merge: it stands behind them.",
            lambda V, s, C: (V - 256, V * C),
        ),
        Mistake(
            "Bytes and special tokens have rows in the table as well as merges.",
            lambda V, s, C: (V - 256 - s, (V - 256 - s) * C),
        ),
        Mistake(
            "The merges are right. A table has a row for each entry, and C numbers in a row.",
            lambda V, s, C: (V - 256 - s, V + C),
        ),
        Mistake(
            "The two numbers have changed places.",
            lambda V, s, C: (V * C, V - 256 - s),
        ),
    ),
    because="256 bytes, the merges and the special tokens together are the entries, a row each.",
)


@cache
def _measured(n: int, V: int) -> tuple[int, int, int]:
    """Of 50 stories that training never saw: characters, tokens, words."""
    tokenizer = BPETokenizer.train(corpus.load("stories", n=n), V, [corpus.END])
    held_out = [story.text for story in corpus.stories(50, seed=1)]
    tokens = Counter(i for text in held_out for i in tokenizer.encode(text))
    return sum(map(len, held_out)), tokens.total(), sum(len(text.split()) for text in held_out)


def _shares(part: int, of: int) -> Any:
    return lambda n, V: _measured(n, V)[part] / _measured(n, V)[of]


COMPRESSION = Question(
    name="tokenizer.compression",
    asks="Train a BPETokenizer with {V} entries, the end mark among them, on {n} stories, "
    'corpus.load("stories", n={n}). How many characters does a token stand for on average in the '
    "50 stories of corpus.stories(50, seed=1)? Answer with a number of two decimals.",
    figures=lambda seed: {"n": 300, "V": (512, 400, 700, 600, 450)[seed % 5]},
    answer=_shares(0, 1),
    hints=(
        "Which two totals do you need, and which of them is divided by which?",
        "The characters of all 50 texts together, and the tokens that `encode` makes of them.",
        "sum(len(s.text) for s in stories) / sum(len(tokenizer.encode(s.text)) for s in stories).",
    ),
    mistakes=(
        Mistake(
            "These are tokens for each character; characters for each token are asked for.",
            _shares(1, 0),
        ),
        Mistake("These are characters for each word.", _shares(0, 2)),
        Mistake("These are tokens for each word.", _shares(1, 2)),
        Mistake("These are tokens for each story.", lambda n, V: _measured(n, V)[1] / 50),
        Mistake(
            "One character a token: these are bytes, as if no merge had been applied.",
            lambda n, V: 1.0,
        ),
    ),
    because="With a few hundred merges a token of these stories is two or three characters long.",
    within=0.005,
    places=2,
    kind="measurement",
)

QUESTIONS = (FIRST_MERGE, TIE, UTF8, WINDOWS, ENTRIES, COMPRESSION)
