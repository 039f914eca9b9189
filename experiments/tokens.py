"""What a tokenizer does to a model: the space at the end, spelling, sums, and the vocabulary.

Claim: the book's model continues a text rightly where a word ends, and not once a space is added,
unless the word is encoded with a token of its own for the space. Taught to spell, it spells new
words where it sees letters, and none where a word is one id. Taught sums, a small model adds new
pairs sooner where each digit is a token than where each number is. On the same stories a vocabulary
of words ends nearer to the floor than one of pieces, and nearer than one of phrases.

    python experiments/tokens.py            # ten quiet minutes; writes data/runs/tokens.json
    python experiments/tokens.py --resume   # only what is not recorded yet
    python experiments/tokens.py sums       # one or more of the four parts, anew

Recorded: shares of places, words, letters or sums that are right, on what training did not show;
for each vocabulary the loss in nats per character on 100 unseen stories, along training, beside the
floor. Two seeds of what is trained; one of phrases, whose tokenizer takes longest.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any

import tiktoken
import torch
from recording import arguments, begin, book_tokenizer, encode, few, fill, shortened
from torch import nn

from gptlib import corpus
from gptlib.given.models import evaluating
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT, GPTConfig
from gptlib.loss import IGNORED_TARGET
from gptlib.merges import train_merges
from gptlib.recipe import learning_rate
from gptlib.tokenizer import BPETokenizer
from gptlib.training import TrainConfig, make_optimizer

SEEDS = range(2)
PARTS = ("space", "spelling", "sums", "vocabulary")
UNITS = "loss, floor: nats per character; the rest: shares that are right, of so many places"
Rows = list[tuple[list[int], int]]  # a row of ids, and how many of them are given, not asked


def padded(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets (B, T) of rows; what is given and what is behind a row is no target."""
    T = max(len(ids) for ids, _ in rows)
    x = [ids[:-1] + [0] * (T - len(ids)) for ids, _ in rows]
    y = [
        [IGNORED_TARGET] * (given - 1) + ids[given:] + [IGNORED_TARGET] * (T - len(ids))
        for ids, given in rows
    ]
    return torch.tensor(x), torch.tensor(y)


def teach(
    model: nn.Module, rows: Rows, config: TrainConfig, look: Callable[[int], None] | None = None
) -> None:
    """Train on the rows, each batch the next of them, mixed by the seed; `look` comes after each.

    Where the rows have an end, they begin anew.
    """
    config = shortened(config)
    order, optimizer = random.Random(config.seed), make_optimizer(model, config)
    queue: Rows = []
    for step in range(1, config.steps + 1):
        if len(queue) < config.batch_size:
            queue += order.sample(rows, len(rows))
        batch, queue = queue[: config.batch_size], queue[config.batch_size :]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        optimizer.zero_grad()
        model(*padded(batch))[1].backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        if look is not None:
            look(step)


@torch.no_grad()
def right(model: nn.Module, rows: Rows) -> tuple[float, float]:
    """The share of rows whose every asked id is the first choice, and the share of such ids."""
    with evaluating(model):
        x, y = padded(rows)
        hits = (model(x)[0].argmax(-1) == y) | (y == IGNORED_TARGET)
    asked = int((y != IGNORED_TARGET).sum())
    return hits.all(1).float().mean().item(), 1 - int((~hits).sum()) / asked


def book_model() -> GPT:
    """The book's trained GPT."""
    model = GPT(GPTConfig.preset("stories"))
    load_recorded(model)
    return model


# A space at the end ------------------------------------------------------------------------------


def places(texts: Sequence[corpus.Story]) -> list[tuple[str, str]]:
    """Where a story leaves one possibility: the text before a word and its space, and the word."""
    found = []
    for story in texts:
        for label in story.labels:
            asked = story.text[label.start - 1 : label.end]  # with the space before it
            for word in re.finditer(r"(?<= )\w+", asked):
                start = label.start - 1 + word.start()
                found.append((story.text[: start - 1], word[0]))
    return found


def encoded(text: str) -> list[int]:
    """The ids of the beginning of a story."""
    return book_tokenizer().encode(corpus.END + text, allowed_special="all")


@torch.no_grad()
def first_choices(model: nn.Module, rows: list[list[int]]) -> list[int]:
    """What a model thinks likeliest behind each of the rows."""
    T = max(map(len, rows))
    x = torch.tensor([ids + [0] * (T - len(ids)) for ids in rows])
    last = torch.tensor([len(ids) - 1 for ids in rows])
    with evaluating(model):
        return [
            i
            for part, at in zip(x.split(50), last.split(50), strict=True)
            for i in model(part)[0][torch.arange(len(part)), at].argmax(-1).tolist()
        ]


def word_shares(model: nn.Module, todo: list[tuple[str, str]], end: str) -> float:
    """The share of places at which the model's first choices write the word, in whatever cut.

    end: what is put behind the text before the word, a space or nothing.
    """
    tokenizer = book_tokenizer()
    texts = [token.decode("utf-8", errors="replace") for token in tokenizer.vocab]
    before = [encoded(text + end) for text, _ in todo]
    missing = [" " * (not end) + word for _, word in todo]
    written = 0
    for _ in range(6):  # tokens of a word, at most
        if not missing:
            break
        chosen = first_choices(model, before)
        fits = [
            ([*ids, i], word[len(texts[i]) :])
            for ids, word, i in zip(before, missing, chosen, strict=True)
            if texts[i] and word.startswith(texts[i])
        ]
        written += sum(not rest for _, rest in fits)
        before = [ids for ids, rest in fits if rest]
        missing = [rest for _, rest in fits if rest]
    return written / len(todo)


def space_exam() -> dict[str, Any]:
    """The book's model at places of unseen stories, without a space at the end and with one.

    Two kinds: words that are encoded with a token of their own for the space, and all others. And
    whether, behind a space, it chooses a token that followed a lone space in its training text.
    """
    tokenizer, model = book_tokenizer(), book_model()
    ids = encode(tokenizer, corpus.load("stories", n=few(3000, 300))).tolist()
    followers = {after for before, after in pairwise(ids) if before == ord(" ")}
    many = places(corpus.stories(few(2000, 60), seed=1))
    loose = [place for place in many if tokenizer.encode(" " + place[1])[0] == ord(" ")]
    usual = places(corpus.stories(few(60, 10), seed=1))
    usual = [place for place in usual if place not in loose]
    found: dict[str, Any] = {
        kind: {
            "places": len(todo),
            "words": sorted({word for _, word in todo}) if kind == "loose" else [],
            "plain": word_shares(model, todo, ""),
            "space": word_shares(model, todo, " "),
        }
        for kind, todo in (("usual", usual), ("loose", loose or usual[:1]))
    }
    chosen = first_choices(model, [encoded(text + " ") for text, _ in usual])
    found["chosen_followers"] = sum(i in followers for i in chosen) / len(chosen)
    found["followers"] = [tokenizer.decode([i]) for i in sorted(followers)]
    found["spaces_alone"] = ids.count(ord(" "))
    found["tokens"] = len(ids)
    return found


# Spelling ----------------------------------------------------------------------------------------


def spelling(whole: bool, seed: int) -> dict[str, Any]:
    """Teach the book's model to spell four words in five; ask for the fifth.

    whole: each word is the one id that the stories use. If not, its letters are bytes. Whatever is
    asked, and whatever else is shown, is the same.
    """
    tokenizer, rng = book_tokenizer(), random.Random(seed)
    end = tokenizer.special_tokens[corpus.END]
    vocab = [token.decode("utf-8", errors="replace") for token in tokenizer.vocab]
    counts = Counter(re.findall(r" [a-z]{3,}", corpus.load("stories", n=few(3000, 300))))
    words = [word for word in vocab if counts[word] >= 3 and len(tokenizer.encode(word)) == 1]
    rng.shuffle(words)
    words = few(words, 40)

    def row(word: str, shown: str) -> tuple[list[int], int]:
        ids = tokenizer.encode(shown) if whole else list(shown.encode())
        return [end, *ids, ord("="), *word[1:].encode(), end], len(ids) + 2

    n = len(words) // 5
    taught, asked = ([row(word, word) for word in some] for some in (words[n:], words[:n]))
    # the control: the right letters beside another word
    other = [
        row(word, shown) for word, shown in zip(words[:n], words[1:n] + words[:1], strict=True)
    ]
    model = book_model()
    curve = []

    def look(step: int) -> None:
        if step % 100 == 0 or step == shortened(config).steps:
            words_right, letters = right(model, asked)
            curve.append({
                "step": step, "words": words_right, "letters": letters,
                "other": right(model, other)[1], "known": right(model, taught)[0],
            })  # fmt: skip

    config = TrainConfig(steps=300, batch_size=32, lr=2e-3, weight_decay=0.01, seed=seed)
    teach(model, taught, config, look)
    return {"taught": len(taught), "asked": len(asked), "curve": curve}


# Sums --------------------------------------------------------------------------------------------


def sums(whole: bool, seed: int) -> dict[str, Any]:
    """Teach a small model a part of the sums of two numbers below 100; ask for others.

    whole: each number is one id. If not, each digit is one.
    """
    rng = random.Random(seed)
    pairs = [(a, b) for a in range(100) for b in range(100)]
    rng.shuffle(pairs)
    plus, equals, stop = 200, 201, 202

    def number(n: int) -> list[int]:
        return [n] if whole else [int(digit) for digit in str(n)]

    def row(a: int, b: int) -> tuple[list[int], int]:
        given = [stop, *number(a), plus, *number(b), equals]
        return [*given, *number(a + b), stop], len(given)

    taught = [row(a, b) for a, b in few(pairs[:3000], 20)]
    asked = [row(a, b) for a, b in few(pairs[3000:4000], 20)]
    torch.manual_seed(seed)
    shape = {"vocab_size": 203, "context_length": 10, "n_layer": 2}
    model = GPT(GPTConfig.preset("stories", **shape))
    curve = []

    def look(step: int) -> None:
        if step % 500 == 0 or step == shortened(config).steps:
            curve.append({"step": step, "new": right(model, asked)[0],
                          "known": right(model, taught[:1000])[0]})  # fmt: skip

    config = TrainConfig(steps=1500, batch_size=32, lr=4e-3, weight_decay=0.01, seed=seed)
    teach(model, taught, config, look)
    return {"taught": len(taught), "asked": len(asked), "curve": curve}


# The size of the vocabulary ----------------------------------------------------------------------

SIZES = {"words": (512, 1972), "phrases": (8192,)}


@cache
def learned(kind: str) -> list[tuple[int, int]]:
    """The merges of 3,000 stories: inside words, or, where stories are not cut, of phrases too."""
    texts = corpus.load("stories", n=few(3000, 300))
    if kind == "words":
        return list(BPETokenizer.train(texts, few(1972, 600), [corpus.END]).merges)
    n_merges = few(max(SIZES["phrases"]), 700) - 257
    return list(train_merges(Counter(texts.split(corpus.END)), n_merges))


def encoder(kind: str, size: int) -> tiktoken.Encoding:
    """A tokenizer of so many ids, the last of them END."""
    merges = learned(kind)[: size - 257]
    small = BPETokenizer(merges, [corpus.END])
    if kind == "words":
        return small.to_tiktoken()
    ranks = {token: i for i, token in enumerate(small.vocab[:-1])}
    return tiktoken.Encoding(
        kind, pat_str=r"[\s\S]+", mergeable_ranks=ranks, special_tokens=small.special_tokens
    )


@cache
def stories_read() -> list[str]:
    """What all vocabularies are trained on, in this order."""
    return corpus.load("stories", n=few(VOCABULARY.steps * VOCABULARY.batch_size, 20)).split(
        corpus.END
    )[:-1]


VOCABULARY = TrainConfig(steps=1000, batch_size=2, lr=2e-3, weight_decay=0.01)


def vocabulary(kind: str, size: int, seed: int) -> dict[str, Any]:
    """Train a small GPT on the same stories, cut by one tokenizer; its loss per character."""
    tokens = encoder(kind, size)
    end = tokens.n_vocab - 1
    unseen = corpus.stories(few(100, 5), seed=1)
    rows = [([end, *tokens.encode(text), end], 1) for text in stories_read()]
    exam = [([end, *tokens.encode(story.text), end], 1) for story in unseen]
    chars = sum(len(story.text) + 1 for story in unseen)
    longest = max(len(ids) for ids, _ in rows + exam)
    torch.manual_seed(seed)
    config = GPTConfig.preset("stories", vocab_size=end + 1, context_length=longest, n_layer=2)
    model = GPT(config)
    curve = []

    def look(step: int) -> None:
        if step % 500 == 0 or step == shortened(recipe).steps:
            nats = 0.0
            with torch.no_grad(), evaluating(model):
                for n in range(0, len(exam), 25):
                    x, y = padded(exam[n : n + 25])
                    nats += model(x, y)[1].item() * int((y != IGNORED_TARGET).sum())
            curve.append({"step": step, "loss": nats / chars})

    recipe = TrainConfig(**{**vars(VOCABULARY), "seed": seed})
    teach(model, rows, recipe, look)
    counts = Counter(i for ids, _ in rows for i in ids)
    return {
        "parameters": model.num_parameters(),
        "tokens_per_story": sum(counts.values()) / len(rows) - 1,
        "median_count": sorted(counts.values())[len(counts) // 2],
        "curve": curve,
    }


def say(result: dict[str, Any]) -> str:
    """The last of what was recorded."""
    return str(result["curve"][-1] if "curve" in result else result)


def all_jobs() -> dict[tuple[str, ...], Callable[[], Any]]:
    """Each part of the record, and what makes it."""
    jobs: dict[tuple[str, ...], Callable[[], Any]] = {("space",): space_exam}
    for seed in few(SEEDS, 1):
        for name, whole in (("one_id", True), ("letters", False)):
            jobs["spelling", name, str(seed)] = partial(spelling, whole, seed)
        for name, whole in (("one_id", True), ("digits", False)):
            jobs["sums", name, str(seed)] = partial(sums, whole, seed)
        for kind, sizes in SIZES.items():
            for size in few(sizes, 1) if kind == "words" or seed == 0 else ():
                way = ("vocabulary", kind, str(size), str(seed))
                jobs[way] = partial(vocabulary, kind, size, seed)
    return jobs


def main() -> None:
    args = arguments("tokens", __doc__, names=PARTS)
    record = begin(args)
    unseen = corpus.stories(few(100, 5), seed=1)
    record["floor"] = corpus.floor(unseen).nats_per_char
    jobs = {way: job for way, job in all_jobs().items() if way[0] in (args.names or PARTS)}
    fill(args, record, jobs, say, units=UNITS)


if __name__ == "__main__":
    main()
