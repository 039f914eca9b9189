"""The bigram model against its own counts."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib import corpus
from gptlib.batches import get_batch, train_val_split
from gptlib.bigram import (
    BigramModel,
    bigram_probs,
    conditional_entropy,
    count_bigrams,
    fit,
)
from gptlib.exercises.bigram_graph import Value, backward
from gptlib.loss import next_token_loss
from gptlib.tokenizer import BPETokenizer, CharTokenizer

VOCAB_SIZE = 6


def random_text(n: int, seed: int = 0) -> torch.Tensor:
    """n tokens of a random Markov chain, so that some pairs are common and some never come."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.softmax(3 * torch.randn(VOCAB_SIZE, VOCAB_SIZE, generator=generator), dim=1)
    ids = [0]
    for _ in range(n - 1):
        ids.append(int(torch.multinomial(rows[ids[-1]], 1, generator=generator)))
    return torch.tensor(ids)


@settings(deadline=None)
@given(st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=2, max_size=60))
def test_counts_equal_a_plain_count_of_pairs(ids):
    counts = count_bigrams(ids, VOCAB_SIZE)
    pairs = Counter(pairwise(ids))
    assert counts.dtype == torch.int64
    assert {(i, j): int(counts[i, j]) for i, j in counts.nonzero().tolist()} == dict(pairs)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=2, max_size=60),
    st.sampled_from([0.0, 0.5, 1.0, 100.0]),
)
def test_every_row_of_probabilities_sums_to_one(ids, smoothing):
    counts = count_bigrams(ids, VOCAB_SIZE)
    probs = bigram_probs(counts, smoothing)
    assert torch.allclose(probs.sum(dim=1), torch.ones(VOCAB_SIZE))
    for i in range(VOCAB_SIZE):
        total = counts[i].sum() + smoothing * VOCAB_SIZE
        expected = (counts[i] + smoothing) / total if total else torch.tensor(1 / VOCAB_SIZE)
        assert torch.allclose(probs[i], expected.float())


def test_worked_values():
    counts = count_bigrams([0, 1, 0, 1, 1], vocab_size=2)
    assert counts.tolist() == [[0, 2], [1, 1]]
    assert bigram_probs(counts).tolist() == [[0.0, 1.0], [0.5, 0.5]]
    assert conditional_entropy(counts) == pytest.approx(math.log(2) / 2)
    assert conditional_entropy(torch.ones(4, 4)) == pytest.approx(math.log(4))
    assert conditional_entropy(torch.eye(4)) == 0.0
    assert conditional_entropy(torch.diag(torch.tensor([3, 0, 0]))) == 0.0


def test_the_entropy_is_the_mean_surprise_of_the_text_under_its_own_counts():
    ids = random_text(500)
    counts = count_bigrams(ids, VOCAB_SIZE)
    surprise = -bigram_probs(counts)[ids[:-1], ids[1:]].log()
    assert conditional_entropy(counts) == pytest.approx(float(surprise.mean()), abs=1e-5)
    # No other table does better on this text.
    others = [bigram_probs(counts, smoothing) for smoothing in (0.1, 1.0)]
    shaken = torch.Generator().manual_seed(1)
    for scale in (0.01, 0.1, 1.0):
        logits = bigram_probs(counts).log()
        for _ in range(20):
            noise = scale * torch.randn(logits.shape, generator=shaken)
            others.append((logits + noise).softmax(dim=1))
    for other in others:
        surprise = -other.double()[ids[:-1], ids[1:]].log()
        assert float(surprise.mean()) > conditional_entropy(counts)


@pytest.mark.parametrize("vocab_size", [2, 65, 1024])
def test_the_loss_starts_at_ln_vocab_size(vocab_size):
    idx = torch.randint(vocab_size, (4, 8))
    logits, loss = BigramModel(vocab_size)(idx, idx)
    assert logits.shape == (4, 8, vocab_size)
    assert loss.item() == pytest.approx(math.log(vocab_size), abs=1e-5)


def test_gradient_descent_finds_the_table_of_counts():
    ids = random_text(800)
    counts = count_bigrams(ids, VOCAB_SIZE)
    model = BigramModel(VOCAB_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    x, y = ids[None, :-1], ids[None, 1:]  # the whole text as one batch
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 600)
        _, loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learned = torch.softmax(model.table.weight, dim=1)
    assert torch.allclose(learned, bigram_probs(counts), atol=0.005)
    assert loss.item() == pytest.approx(conditional_entropy(counts), abs=0.002)
    assert loss.item() >= conditional_entropy(counts) - 1e-5
    # The logits are the log-counts, up to a number that is the same in the whole row.
    often = counts >= 20
    difference = (model.table.weight.detach() - counts.clamp(min=1).log())[often]
    row = often.nonzero()[:, 0]
    for i in row.unique():
        of_row = difference[row == i]
        assert float((of_row - of_row.mean()).abs().max()) < 0.02


def test_the_logits_depend_on_the_last_token_only():
    model = BigramModel(VOCAB_SIZE)
    torch.nn.init.normal_(model.table.weight)
    one, other = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[5, 4, 0, 3]])
    assert torch.equal(model(one)[0][:, -1], model(other)[0][:, -1])
    assert torch.equal(model(one)[0][0, -1], model.table.weight[3])


def test_fit_comes_close_to_the_floor():
    ids = random_text(5000)
    train, val = train_val_split(ids)
    floor = conditional_entropy(count_bigrams(train, VOCAB_SIZE))
    settings = {"batch_size": 16, "context_length": 16, "lr": 0.05, "eval_every": 100}
    model = BigramModel(VOCAB_SIZE)
    history = fit(model, train, val, steps=250, **settings)
    assert [step for step, _, _ in history] == [0, 100, 200, 250]
    assert history[0][1] == pytest.approx(math.log(VOCAB_SIZE), abs=1e-5)
    assert history[-1][1] == pytest.approx(floor, abs=0.05)
    assert history == fit(BigramModel(VOCAB_SIZE), train, val, steps=250, **settings)


def test_the_seed_of_fit_decides_the_batches():
    ids = random_text(300)

    def table(seed):
        model = BigramModel(VOCAB_SIZE)
        settings = {"steps": 3, "batch_size": 2, "context_length": 8, "lr": 0.1, "eval_every": 3}
        fit(model, ids, ids, seed=seed, eval_batches=1, **settings)
        return model.table.weight

    assert torch.equal(table(0), table(0))
    assert not torch.equal(table(0), table(1))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: count_bigrams([1], 4), ["ids", "2 tokens"]),
        (lambda: count_bigrams([0, 4], 4), ["ids", "4", "0 to 3"]),
        (lambda: count_bigrams([0, -1], 4), ["ids", "-1", "0 to 3"]),
        (lambda: bigram_probs(torch.ones(2, 2), -0.1), ["smoothing", "-0.1", "0 or more"]),
        (lambda: bigram_probs(torch.ones(2, 2), math.nan), ["smoothing", "nan"]),
        (lambda: conditional_entropy(torch.zeros(2, 2)), ["counts"]),
        (lambda: BigramModel(0), ["vocab_size", "1 or more"]),
        (lambda: count_bigrams([0.5, 1.0], 4), ["ids", "whole numbers", "float32"]),
        (lambda: count_bigrams("0101", 2), ["ids", "one row of whole numbers", "str"]),
        (lambda: BigramModel(4)(torch.tensor([1, 2])), ["idx", "(B, T)", "idx[None]"]),
        (lambda: BigramModel(4)(torch.tensor([[1.0]])), ["idx", "float"]),
        (lambda: BigramModel(4)(torch.zeros(1, 0, dtype=torch.long)), ["idx", "at least one"]),
        (
            lambda: BigramModel(4)(torch.tensor([[1, 2]]), torch.tensor([[1]])),
            ["targets", "(1, 2)", "(1, 1)"],
        ),
        (
            lambda: fit(
                BigramModel(4),
                torch.zeros(9),
                torch.zeros(9),
                steps=0,
                batch_size=1,
                context_length=2,
                lr=1.0,
                eval_every=1,
            ),
            ["steps", "1 or more", "0"],
        ),
    ],
)
def test_errors_name_the_argument_and_what_is_allowed(call, words):
    with pytest.raises(ValueError) as error:
        call()
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("bad", [-1, 4])
@pytest.mark.parametrize("part", [0, 1])
def test_fit_names_an_id_that_is_not_in_the_table(bad, part):
    rows = [torch.zeros(9, dtype=torch.long), torch.zeros(9, dtype=torch.long)]
    rows[part] = rows[part] + bad
    sizes = {"steps": 1, "batch_size": 2, "context_length": 3, "lr": 0.1, "eval_every": 1}
    with pytest.raises(ValueError, match=f"data holds the token id {bad}; allowed are 0 to 3"):
        fit(BigramModel(4), *rows, **sizes)


def test_a_call_by_hand_with_such_an_id_is_refused_by_the_table_itself():
    # The model does not look at values: on a GPU a look is a wait. See `check_range`.
    for bad in (-1, 4):
        with pytest.raises(IndexError, match="index out of range"):
            BigramModel(4)(torch.tensor([[bad]]))


def test_cross_entropy_is_what_pytorch_computes():
    logits, targets = torch.randn(2, 3, 7), torch.randint(7, (2, 3))
    expected = F.cross_entropy(logits.transpose(1, 2), targets)  # PyTorch's own (B, V, T) form
    assert torch.allclose(next_token_loss(logits, targets), expected)


def test_a_little_smoothing_still_sums_to_one():
    counts = torch.tensor([[0, 0], [3, 0]])
    probs = bigram_probs(counts, smoothing=0.01)
    assert probs[0].tolist() == [0.5, 0.5]
    assert probs[1].tolist() == pytest.approx([3.01 / 3.02, 0.01 / 3.02])


def test_the_bigram_floor_of_a_long_text_is_exact():
    """Counts that float32 cannot hold: the floor is reckoned with 64 bits."""
    rows = [[16_777_217, 3], [7, 100_000_007]]
    n = sum(map(sum, rows))
    expected = -sum(c * math.log(c / sum(row)) for row in rows for c in row) / n
    assert conditional_entropy(torch.tensor(rows)) == pytest.approx(expected, rel=1e-9)


def test_what_fit_takes_where_nothing_is_said():
    data = torch.arange(40) % 4
    sizes = {"steps": 1, "batch_size": 2, "context_length": 3, "lr": 0.1, "eval_every": 1}

    class Counting(BigramModel):
        looked = 0

        def forward(self, idx, targets=None):
            self.looked += not self.training
            return super().forward(idx, targets)

    plain, seeded = Counting(4), Counting(4)
    assert fit(plain, data, data, **sizes) == fit(seeded, data, data, seed=0, **sizes)
    assert plain.looked == 2 * 2 * 20  # before and after, on both parts, 20 batches each


# What chapter 2 says in words and in its solutions ------------------------------------------------


@pytest.fixture(scope="module")
def tokens():
    """The chapter's text in the book's tokens: (training ids, validation ids, floor)."""
    text = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(text, 1536, special_tokens=[corpus.END])
    ids = tokenizer.to_tiktoken().encode(text, allowed_special="all")
    floor = corpus.floor(corpus.stories(3000), tokenizer).nats_per_token
    return *train_val_split(ids), floor


def test_two_tokens_of_memory_take_more_than_half_of_the_gap(tokens):
    train, val, floor = tokens

    def nats_and_unseen(n):
        """The conditional entropy with n - 1 tokens of memory; the share of runs not seen."""
        ids, new = train.tolist(), val.tolist()
        runs = Counter(zip(*(ids[k:] for k in range(n)), strict=False))
        before: Counter = Counter()
        for run, count in runs.items():
            before[run[:-1]] += count
        nats = -sum(count * math.log(count / before[run[:-1]]) for run, count in runs.items())
        asked = list(zip(*(new[k:] for k in range(n)), strict=False))
        return nats / runs.total(), sum(run not in runs for run in asked) / len(asked)

    nats, unseen = zip(*map(nats_and_unseen, (2, 3, 4, 5)), strict=True)
    assert nats[0] == pytest.approx(conditional_entropy(count_bigrams(train, 1536)), abs=1e-4)
    assert nats[0] - nats[1] > 0.5 * (nats[0] - floor)
    assert list(nats) == sorted(nats, reverse=True) and list(unseen) == sorted(unseen)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_table_begins_above_ln_v(tokens, seed):
    torch.manual_seed(seed)
    model = BigramModel(1536)
    x, y = tokens[0][None, :2000], tokens[0][None, 1:2001]
    above = []
    for std in (1, 5):
        torch.nn.init.normal_(model.table.weight, std=std)
        above.append(model(x, y)[1].item() - math.log(1536))
    assert 0.4 < above[0] < 0.6 and 3 < above[1] < 15


@pytest.fixture(scope="module")
def characters():
    """The chapter's characters to learn from, as ids, and how often each pair comes."""
    text = "".join(story.text + "\n" for story in corpus.stories(3000))
    tokenizer = CharTokenizer(text)
    train, _ = train_val_split(tokenizer.encode(text))
    return train, count_bigrams(train, tokenizer.vocab_size)


def on_all(logits, counts):
    """The loss of a table of logits on all counted pairs at once."""
    return -(counts / counts.sum() * logits.log_softmax(dim=-1)).sum()


def test_three_functions_fill_the_table(characters):
    counts = characters[1]
    shares = counts / counts.sum()
    starts = {torch.exp: 0.0, F.softplus: 0.0, torch.square: 1.0}
    best = {}
    for f, start in starts.items():
        ends = []
        for k in range(6):
            z = torch.full(counts.shape, start, dtype=torch.float64, requires_grad=True)
            for _ in range(300):
                w = f(z)
                loss = -torch.xlogy(shares, w / w.sum(dim=1, keepdim=True)).sum()
                (gradient,) = torch.autograd.grad(loss, z)
                z = (z - 10 * 3**k * gradient).detach().requires_grad_()
            ends.append(loss.item())
        best[f] = min(ends)
    assert max(best.values()) < 1.03 * conditional_entropy(counts)
    assert max(best.values()) == best[torch.exp]


@pytest.mark.parametrize("seed", range(3))
def test_short_steps_win_against_the_luck_of_batches(characters, seed):
    train, counts = characters

    def go_on(lr, everything):
        table = BigramModel(len(counts))
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(table.parameters(), lr=0.1, weight_decay=0.0)
        for step in range(210):
            if step == 150:
                optimizer = torch.optim.AdamW(table.parameters(), lr=lr, weight_decay=0.0)
            if everything and step >= 150:
                loss = on_all(table.table.weight, counts)
            else:
                loss = table(*get_batch(train, 16, 64, generator=generator))[1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return on_all(table.table.weight, counts).item()

    assert go_on(0.01, everything=False) < go_on(0.1, everything=False) - 0.002
    assert go_on(0.1, everything=True) < go_on(0.01, everything=True) - 0.002


@pytest.mark.parametrize("seed", range(3))
def test_a_tied_table_cannot_hold_a_bigram(characters, seed):
    counts = characters[1]
    n = len(counts)

    def fitted(make_logits, *shapes, steps=500):
        generator = torch.Generator().manual_seed(seed)
        numbers = [0.1 * torch.randn(shape, generator=generator) for shape in shapes]
        numbers = [number.requires_grad_() for number in numbers]
        optimizer = torch.optim.AdamW(numbers, lr=0.1, weight_decay=0.0)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
            loss = on_all(make_logits(*numbers), counts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    floor = conditional_entropy(counts)
    assert fitted(lambda E, U: E @ U.T, (n, 32), (n, 32)) < floor + 0.005
    assert fitted(lambda E, M: E @ M @ E.T, (n, 32), (32, 32)) < floor + 0.005
    assert fitted(lambda E: E @ E.T, (n, 64)) == pytest.approx(2.915, abs=0.01)
    assert fitted(lambda A: A + A.T, (n, n)) == pytest.approx(2.59, abs=0.01)
    assert fitted(lambda E, d: E @ E.T + d.diag(), (n, 64), (n,)) == pytest.approx(2.60, abs=0.01)


def test_our_backward_walks_each_way_and_pytorch_each_node():
    heard = Counter()

    class Counted(Value):
        def backward(self, grad=1.0):
            heard[id(self)] += 1
            backward(self, grad)

    ours = [Counted(1.0)]
    theirs = [torch.tensor(1.0, requires_grad=True)]
    for _ in range(6):
        ours.append(ours[-1] * ours[-1])
        theirs.append(theirs[-1] * theirs[-1])
    for number in theirs[1:]:
        number.grad_fn.register_hook(lambda *_: heard.update(["theirs"]))
    ours[-1].backward()
    theirs[-1].backward()
    assert [heard[id(number)] for number in ours] == [2**k for k in range(6, -1, -1)]
    assert heard["theirs"] == 6
    assert ours[0].grad == theirs[0].grad.item() == 2**6


def test_a_run_is_drawn_as_often_as_the_product_says():
    """`ees` after an `s`, by the table of the chapter's line: once in eighty, as the product is."""
    line, chars = "eels_see_less_sleet", "_elst"
    probs = bigram_probs(count_bigrams([chars.index(char) for char in line], 5))
    generator = torch.Generator().manual_seed(0)
    n = 200_000
    tokens, right = torch.full((n,), chars.index("s")), torch.ones(n, dtype=torch.bool)
    product = 1.0
    for before, char in pairwise("sees"):
        product *= probs[chars.index(before), chars.index(char)].item()
        tokens = torch.multinomial(probs[tokens], 1, generator=generator)[:, 0]
        right &= tokens == chars.index(char)
    assert product == pytest.approx(0.01224, abs=1e-5)
    assert right.float().mean().item() == pytest.approx(product, rel=0.15)


class Walked(Value):
    """The chapter's number, with the chapter's walk back."""

    backward = backward


class Overwriting(Value):
    """A walk back that forgets what it heard before: exercise 4."""

    def backward(self, grad=1.0):
        self.grad = grad
        for parent, slope in self.parents:
            parent.backward(grad * slope)


@pytest.mark.parametrize("at", [-2.0, 0.0, 1.5])
def test_three_nodes_say_what_was_said_minus_what_happened(at):
    p = 1 / (1 + math.exp(-at))
    heads, tails = Walked(at), Walked(at)
    a = (heads * Walked(-1.0)).exp()
    s = Walked(1.0) + a
    for loss, happened in ((s.log(), p), ((Walked(1.0) + tails.exp()).log(), 1 - p)):
        assert loss.data == pytest.approx(-math.log(happened))
        loss.backward()
    assert heads.grad == pytest.approx(p - 1)
    assert heads.grad == pytest.approx(-a.data / s.data)
    assert tails.grad == pytest.approx(p)


def test_where_the_second_way_overwrites_the_first_a_square_has_half_its_slope():
    for number, square in ((Walked, 6.0), (Overwriting, 3.0)):
        z = number(3.0)
        (z * z).backward()
        assert z.grad == square
        z = number(0.0)  # the three nodes, on which both are right
        (number(1.0) + (z * number(-1.0)).exp()).log().backward()
        assert z.grad == -0.5


@settings(deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.integers(0, 5))
def test_a_push_through_exp_is_at_most_one_and_a_logit_multiplies_the_odds(logits, happened):
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    happened %= len(logits)
    (-z.log_softmax(dim=0)[happened]).backward()
    assert z.grad.abs().max() <= 1 + 1e-12
    raised = z.detach().clone()
    raised[0] += 1
    before, after = (x.log_softmax(dim=0) for x in (z.detach(), raised))
    odds = math.exp(after[0] - after[1]) / math.exp(before[0] - before[1])
    assert odds == pytest.approx(math.e)


def test_a_push_through_the_square_has_no_bound_and_at_zero_does_not_exist():
    pushes = []
    for at in (1e-1, 1e-2, 1e-3, 1e-4, 0.0):
        z = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        (-(z**2 / (z**2 + 1)).log()).backward()
        pushes.append(-z.grad.item())
    assert all(later > 9 * earlier for earlier, later in pairwise(pushes[:-1]))
    assert not math.isfinite(pushes[-1])


def test_steps_that_are_too_long_land_across_the_valley_from_each_other():
    z, above = 0.0, []
    for _ in range(30):
        p = 1 / (1 + math.exp(-z))
        above.append(p > 0.9)
        z -= 28 * (p - 0.9)
    assert above[:2] == [False, True]  # the first one flies over it
    assert all(one != other for one, other in pairwise(above[5:]))


def test_gradients_that_nobody_clears_are_the_sum_of_all():
    ids = random_text(200)
    model = BigramModel(VOCAB_SIZE)
    alone = []
    for piled in (False, True):
        model.zero_grad()
        for k in range(4):
            if not piled:
                model.zero_grad()
            x, y = ids[None, 40 * k : 40 * k + 30], ids[None, 40 * k + 1 : 40 * k + 31]
            model(x, y)[1].backward()
            if not piled:
                alone.append(model.table.weight.grad.clone())
    assert torch.allclose(model.table.weight.grad, sum(alone), atol=1e-7)


def test_the_1_that_is_added_moves_the_tokens_probability_and_not_the_characters(
    tokens, characters
):
    moved = []
    for counts in (count_bigrams(tokens[0], 1536), characters[1]):
        never = (bigram_probs(counts, smoothing=1.0) * (counts == 0)).sum(dim=1)  # (V)
        moved.append(float((never * counts.sum(dim=1)).sum() / counts.sum()))
    assert moved[0] > 0.3 and moved[1] < 0.01
