"""What is asked of a model from outside: any model of the course, wrapped or not, whole graphs."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parallel import DistributedDataParallel

from gptlib.attention import AttentionModel
from gptlib.bigram import BigramModel
from gptlib.corpus import END, stories
from gptlib.corpus.scoring import AnswerKey
from gptlib.generation import generate, stream
from gptlib.given.models import (
    LanguageModel,
    context_length_of,
    evaluating,
    told_by,
    unwrapped,
    vocab_size_of,
)
from gptlib.gpt import GPT, GPTConfig
from gptlib.loss import estimate_loss
from gptlib.tokenizer import BPETokenizer
from gptlib.training import TrainConfig, train

V, T = 13, 8


def gpt(**changes) -> GPT:
    torch.manual_seed(0)
    sizes = {"vocab_size": V, "context_length": T, "n_layer": 1, "n_head": 2, "n_embd": 8}
    return GPT(GPTConfig(**{**sizes, **changes}))


MODELS = {
    "bigram": lambda: BigramModel(V),
    "attention": lambda: AttentionModel(V, T, 8, 2),
    "attention without positions": lambda: AttentionModel(V, T, 8, 2, positions=False),
    "gpt": gpt,
    "gpt untied": lambda: gpt(tied=False),
    "gpt post-norm": lambda: gpt(norm="post"),
    "gpt post-norm untied": lambda: gpt(norm="post", tied=False),
    "gpt dropout": lambda: gpt(dropout=0.1),
    "gpt bare": lambda: gpt(bias=False, gelu="none", waves=True),
}
every_model = pytest.mark.parametrize("name", MODELS)
scored = pytest.mark.parametrize("scored", [True, False], ids=["targets", "no targets"])


def batch(*, scored: bool, shape=(3, T)) -> tuple[torch.Tensor, ...]:
    """idx, and targets where they are wanted, one of them not to be scored."""
    generator = torch.Generator().manual_seed(1)
    idx, targets = torch.randint(V, (2, *shape), generator=generator)
    targets[0, 0] = -1
    return (idx, targets) if scored else (idx,)


# Whole graphs: nothing in a forward pass looks at a value ----------------------------------------


def same(ours, theirs) -> None:
    """Two results of a model, (logits, loss or None), are equal."""
    torch.testing.assert_close(ours[0], theirs[0])
    assert (ours[1] is None) == (theirs[1] is None)
    if ours[1] is not None:
        torch.testing.assert_close(ours[1], theirs[1])


@every_model
@scored
def test_torch_compile_sees_one_graph(name, scored):
    torch._dynamo.reset()
    model, inputs = MODELS[name]().train(scored), batch(scored=scored)
    # "eager" runs the graph as it was found, "aot_eager" its backward pass as well.
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager" if scored else "eager")
    results = []
    for call in (model, compiled):
        torch.manual_seed(2)  # dropout
        results.append(call(*inputs))
    same(*results)


@every_model
@scored
def test_torch_export_takes_every_model(name, scored):
    model, inputs = MODELS[name]().eval(), batch(scored=scored)
    program = torch.export.export(model, inputs, strict=True)
    same(program.module()(*inputs), model(*inputs))


@every_model
def test_an_exported_model_may_take_other_batches_and_lengths(name):
    model, inputs = MODELS[name]().eval(), batch(scored=True, shape=(3, T - 2))
    B, length = torch.export.Dim("B", min=2, max=64), torch.export.Dim("T", min=2, max=T)
    shapes = ({0: B, 1: length}, {0: B, 1: length})
    program = torch.export.export(model, inputs, dynamic_shapes=shapes)
    other = batch(scored=True, shape=(5, T))
    same(program.module()(*other), model(*other))


@every_model
@scored
def test_a_forward_needs_no_values_at_all(name, scored):
    """On the device meta, and with fake tensors, a look at one value raises."""
    with torch.device("meta"):
        model = MODELS[name]()
    logits, loss = model(*(ids.to("meta") for ids in batch(scored=scored)))
    assert logits.shape == (3, T, V) and logits.device.type == "meta"
    assert (loss is None) == (not scored)
    with FakeTensorMode() as mode:
        model = MODELS[name]()
        inputs = [mode.from_tensor(ids) for ids in batch(scored=scored)]
        logits, loss = model(*inputs)
        if scored:
            loss.backward()
    assert logits.shape == (3, T, V)


# What a model says of itself ---------------------------------------------------------------------


class Wrapper(nn.Module):
    """As DistributedDataParallel does it: the model in `module`, a forward that asks it."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args):
        return self.module(*args)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: BigramModel(V), (None, V)),
        (lambda: AttentionModel(V, T, 8, 2), (T, V)),
        (gpt, (T, V)),
        (lambda: Wrapper(gpt()), (T, V)),
        (lambda: Wrapper(Wrapper(AttentionModel(V, T, 8, 2))), (T, V)),
        (lambda: torch.compile(gpt(), backend="eager"), (T, V)),
        (lambda: Wrapper(torch.compile(gpt(), backend="eager")), (T, V)),
        (lambda: torch.compile(Wrapper(BigramModel(V)), backend="eager"), (None, V)),
        (lambda: nn.Linear(2, 2), (None, None)),
    ],
)
def test_sizes_are_found_in_config_or_attribute_and_through_wrappers(make, expected):
    model = make()
    assert (context_length_of(model), vocab_size_of(model)) == expected
    assert isinstance(model, LanguageModel)


def test_what_the_outer_model_says_counts_first():
    outer = Wrapper(gpt())
    outer.context_length = 3
    assert context_length_of(outer) == 3
    assert vocab_size_of(outer) == V
    outer.config = GPTConfig(context_length=5)
    assert context_length_of(outer) == 5
    assert told_by(outer, "no such thing") is None


def test_unwrapped_is_the_model_itself():
    model = gpt()
    assert unwrapped(model) is model
    assert unwrapped(Wrapper(torch.compile(Wrapper(model), backend="eager"))) is model
    empty = nn.Sequential()  # false, where a truth value is asked for
    assert unwrapped(Wrapper(empty)) is empty
    text = nn.Module()
    text.module = "a word"
    assert unwrapped(text) is text


# Wrapped models, everywhere ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A process group of this one process."""
    store = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=store.as_uri(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "distributed": DistributedDataParallel,
    "both": lambda model: DistributedDataParallel(torch.compile(model, backend="eager")),
}
every_wrapper = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


@every_wrapper
def test_a_wrapped_model_writes_what_the_model_writes(group, wrap):
    model, idx = gpt(dropout=0.5), torch.tensor([[1, 2, 3]])
    wrapped = wrap(model)
    expected = generate(model, idx, 2 * T, temperature=0)
    assert torch.equal(generate(wrapped, idx, 2 * T, temperature=0), expected)
    assert list(stream(wrapped, idx, 2 * T, temperature=0)) == expected[0, 3:].tolist()
    assert all(part.training for part in wrapped.modules())
    with pytest.raises(ValueError, match=f"idx holds the token id {V}; allowed are 0 to {V - 1}"):
        generate(wrapped, idx + V - 3, 2)


@every_wrapper
def test_a_wrapped_model_learns_what_the_model_learns(group, wrap):
    data = torch.arange(60) % V
    config = TrainConfig(
        steps=3, batch_size=2, warmup_steps=0, eval_every=1, eval_batches=1, device="cpu"
    )
    losses = []
    for put_around in (lambda model: model, wrap):
        history = train(put_around(gpt(dropout=0.2)), data, data, config, progress=False)
        losses.append(history.column("train_loss") + history.column("val_loss"))
    assert losses[1] == pytest.approx(losses[0])
    assert losses[0][0] != losses[0][3]


@every_wrapper
def test_a_wrapped_model_is_measured_as_the_model_is(group, wrap):
    told = stories(6, seed=5)
    tokenizer = BPETokenizer.train("".join(s.text for s in told), 300, special_tokens=[END])
    key = AnswerKey(told, tokenizer)
    model = gpt(vocab_size=300, context_length=512, dropout=0.5)
    wrapped = wrap(model)
    ours, theirs = key.score(model), key.score(wrapped)
    assert theirs.loss == pytest.approx(ours.loss) and theirs.skills == ours.skills
    sizes = {"batch_size": 2, "context_length": 8, "n_batches": 2}
    estimates = [
        estimate_loss(m, key.idx[0], generator=torch.Generator().manual_seed(0), **sizes)
        for m in (model, wrapped)
    ]
    assert estimates[0] == pytest.approx(estimates[1])
    assert all(part.training for part in wrapped.modules())


@pytest.mark.parametrize("wrap", [lambda model: model, Wrapper], ids=["bare", "wrapped"])
@pytest.mark.parametrize("part", ["train_data", "val_data"])
@pytest.mark.parametrize("bad", [-1, V])
def test_train_names_an_id_before_the_first_step(wrap, part, bad):
    data = {"train_data": torch.arange(60) % V, "val_data": torch.arange(60) % V}
    data[part][-1] = bad
    model = gpt()
    before = [p.clone() for p in model.parameters()]
    config = TrainConfig(steps=1, warmup_steps=0, batch_size=1, device="cpu")
    with pytest.raises(ValueError, match=f"{part} holds the token id {bad}; .* 0 to {V - 1}"):
        train(wrap(model), *data.values(), config, progress=False)
    assert all(map(torch.equal, before, model.parameters()))


def test_ids_are_looked_at_in_pieces(monkeypatch):
    """A file larger than the memory is read piece by piece, the last one too."""
    import gptlib.given.checks.tensors as tensors

    monkeypatch.setattr(tensors, "PIECE", 7)
    for n in (1, 7, 8, 21, 22):
        ids = torch.zeros(n, dtype=torch.int16)
        tensors.check_range("ids", ids, 1)
        ids[-1] = 1
        with pytest.raises(ValueError, match="ids holds the token id 1; allowed are 0 to 0"):
            tensors.check_range("ids", ids, 1)
    tensors.check_range("ids", torch.zeros(0, dtype=torch.int64), 1)


# Looking without touching ------------------------------------------------------------------------


def modes(model: nn.Module) -> list[bool]:
    return [part.training for part in model.modules()]


def half_frozen() -> GPT:
    """A model of which one block was put into evaluation mode for good."""
    model = gpt(dropout=0.5)
    model.blocks[0].eval()
    return model


@pytest.mark.parametrize("make", [gpt, half_frozen, lambda: gpt().eval()])
@pytest.mark.parametrize("wrap", [lambda model: model, Wrapper, WRAPPERS["compiled"]])
def test_each_part_gets_its_own_mode_back(make, wrap):
    model = wrap(make())
    before = modes(model)
    with evaluating(model):
        assert not any(modes(model))
        with evaluating(model):
            assert not any(modes(model))
        assert not any(modes(model))
    assert modes(model) == before
    with pytest.raises(ZeroDivisionError), evaluating(model):
        1 / 0  # noqa: B018
    assert modes(model) == before


def test_parts_that_two_models_share_come_back_with_the_last_of_them():
    inner = half_frozen()
    outer, before = Wrapper(inner), modes(inner)
    first, second = evaluating(inner), evaluating(outer)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(modes(outer))
    second.__exit__(None, None, None)
    assert modes(inner) == before and outer.training


def test_a_model_that_nobody_looks_at_any_more_is_forgotten():
    import gc
    import weakref

    model = gpt()
    with evaluating(model):
        pass
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


class Meeting(nn.Module):
    """Two threads meet in its forward pass; it says in which mode it was asked, inside."""

    def __init__(self, n_threads):
        super().__init__()
        self.vocab_size, self.barrier = V, threading.Barrier(n_threads, timeout=60)
        self.part, self.asked = nn.Dropout(0.5), []

    def forward(self, idx, targets=None):
        self.barrier.wait()
        self.asked.append((self.training, self.part.training))
        self.barrier.wait()
        return self.part(nn.functional.one_hot((idx + 1) % V, V).float()), None


@pytest.mark.parametrize("lengths", [(5, 5), (1, 5), (5, 1, 3)])
@pytest.mark.parametrize("streamed", [True, False])
def test_threads_that_generate_from_one_model(lengths, streamed):
    model = Meeting(len(lengths))
    model.part.eval()
    texts, failed = {}, []

    def write(thread, n):
        try:
            idx = torch.tensor([[thread]])
            if streamed:
                texts[thread] = list(stream(model, idx, n, temperature=0))
            else:
                texts[thread] = generate(model, idx, n, temperature=0)[0, 1:].tolist()
            for _ in range(max(lengths) - n):  # go on meeting the others
                with evaluating(model):
                    model(idx)
        except Exception as error:
            failed.append(error)
            model.barrier.abort()

    threads = [threading.Thread(target=write, args=pair) for pair in enumerate(lengths)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert texts == {k: [(k + 1 + i) % V for i in range(n)] for k, n in enumerate(lengths)}
    assert set(model.asked) == {(False, False)}
    assert (model.training, model.part.training) == (True, False)


def test_a_stream_that_is_left_unread_leaves_the_model_as_it_was():
    model = half_frozen()
    before = modes(model)
    unread = stream(model, torch.tensor([[1]]), 5)
    next(unread)
    assert modes(model) == before  # while it waits, the model can be trained
    data = torch.arange(60) % V
    config = TrainConfig(steps=2, batch_size=2, eval_every=1, eval_batches=1, device="cpu")
    train(model, data, None, config, progress=False)
    assert modes(model) == before
    next(unread)
    unread.close()
    assert modes(model) == before


def test_whoever_raises_leaves_each_part_in_its_mode():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.part = nn.Parameter(torch.zeros(1)), nn.Dropout(0.5).eval()

        def forward(self, idx, targets=None):
            raise ArithmeticError("no")

    model, idx = Fails(), torch.tensor([[1, 2]])
    told = stories(2, seed=5)
    tokenizer = BPETokenizer.train(told[0].text, 260, special_tokens=[END])
    sizes = {"batch_size": 1, "context_length": 1, "n_batches": 1}
    config = TrainConfig(steps=1, batch_size=1, context_length=1, device="cpu")
    calls = [
        lambda: generate(model, idx, 2),
        lambda: list(stream(model, idx, 2)),
        lambda: AnswerKey(told, tokenizer).score(model),
        lambda: estimate_loss(model, idx[0], **sizes),
        lambda: train(model, idx[0], None, config, progress=False),
    ]
    for call in calls:
        with pytest.raises(ArithmeticError):
            call()
        assert (model.training, model.part.training) == (True, False)
