"""Checkpoints: going on equals never having stopped, and what is not ours is refused by name.

Damaged and forged ones stand in test_saved.py, kills and folders in test_files.py.
"""

import io
import json
import os
import pickle
import shutil
import zipfile
from dataclasses import dataclass, replace

import pytest
import torch
from forging import save_old
from safetensors.torch import load_file
from torch import nn

from gptlib.bigram import BigramModel
from gptlib.checkpoint import load_checkpoint, load_model, save_checkpoint
from gptlib.given.run_state import description, random_states, set_random_states
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import CharTokenizer
from gptlib.training import Run, TrainConfig, train

DATA = torch.arange(400) * 3 % 7
STEPS = 9


def tiny_gpt(**changes):
    torch.manual_seed(1)
    shape = {"vocab_size": 7, "context_length": 8, "n_layer": 1, "n_head": 2, "n_embd": 16}
    return GPT(GPTConfig(**{**shape, "dropout": 0.2, **changes}))


def settings(**changes):
    usual = {"steps": STEPS, "batch_size": 4, "lr": 1e-2, "eval_every": 3, "eval_batches": 2}
    return TrainConfig(**{**usual, "grad_accumulation": 2, "device": "cpu", **changes})


def quiet_train(model, config, **more):
    return train(model, DATA, DATA[:100], config, progress=False, **more)


def stop_at(last):
    def callback(step, model, metrics):
        if step == last:
            raise KeyboardInterrupt

    return callback


def interrupted(path, at=5):
    """A run that is stopped at a step, its checkpoint in path."""
    with pytest.raises(KeyboardInterrupt):
        quiet_train(tiny_gpt(), settings(), checkpoint=path, callbacks=[stop_at(at)])


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.fixture(params=["folder", "old file"])
def checkpoint(tmp_path, request):
    """A checkpoint of step 3, as it is written now and as it was written before."""
    path = tmp_path / "run.pt"
    interrupted(path)
    if request.param == "old file":
        run = Run(tiny_gpt(), DATA, settings(context_length=8))
        load_checkpoint(path, run.model, run)
        shutil.rmtree(path)
        save_old(path, run.model, run)
    return path


@pytest.mark.parametrize("at", [4, 7])
def test_stopped_and_resumed_equals_never_stopped_to_the_last_bit(tmp_path, at):
    whole = tiny_gpt()
    wanted = quiet_train(whole, settings())
    interrupted(tmp_path / "run.pt", at)
    torch.rand(10)  # another session: other random numbers, and a model with other weights
    model = tiny_gpt()
    torch.nn.init.ones_(model.head.weight)
    history = quiet_train(model, settings(), resume=tmp_path / "run.pt")
    assert same_weights(model, whole)
    for name in ("step", "train_loss", "val_loss", "loss", "lr", "grad_norm", "tokens"):
        assert history.column(name) == wanted.column(name)
    assert history.column("seconds") == sorted(history.column("seconds"))


def test_the_callbacks_go_on_where_they_stopped(checkpoint):
    steps = []
    quiet_train(
        tiny_gpt(), settings(), resume=checkpoint, callbacks=[lambda s, m, d: steps.append(s)]
    )
    assert steps == list(range(4, STEPS + 1))  # the checkpoint is of step 3


def test_the_progress_bar_goes_on_where_the_run_stopped(tmp_path, capfd):
    interrupted(tmp_path / "run")
    train(tiny_gpt(), DATA, None, replace(settings(), eval_every=100), resume=tmp_path / "run")
    shown = capfd.readouterr().err
    assert f"{STEPS}/{STEPS} [" in shown and f"0/{STEPS}" not in shown


def test_how_often_to_look_may_change_on_resuming(checkpoint):
    whole, model = tiny_gpt(), tiny_gpt()
    quiet_train(whole, settings())
    quiet_train(model, settings(eval_every=1, eval_batches=1), resume=checkpoint)
    assert same_weights(model, whole)


def test_a_finished_run_has_nothing_to_do(tmp_path):
    whole, model = tiny_gpt(), tiny_gpt()
    history = quiet_train(whole, settings(), checkpoint=tmp_path / "run.pt")
    assert quiet_train(model, settings(), resume=tmp_path / "run.pt") == history
    assert same_weights(model, whole)


def test_the_weights_alone(tmp_path):
    model, other = tiny_gpt(), tiny_gpt()
    torch.nn.init.normal_(model.head.weight)
    save_checkpoint(tmp_path / "model.pt", model)
    assert load_checkpoint(tmp_path / "model.pt", other) == []
    assert same_weights(model, other)
    assert other.head.weight is other.token_embedding.weight  # still tied
    with pytest.raises(ValueError, match="weights only"):
        quiet_train(other, settings(), resume=tmp_path / "model.pt")


def test_the_weights_of_a_run_come_with_its_history(checkpoint):
    history = load_checkpoint(checkpoint, tiny_gpt())
    assert [record["step"] for record in history] == [0, 3]


def test_metrics_of_any_number_type_can_be_saved(tmp_path):
    np = pytest.importorskip("numpy")
    path = tmp_path / "run.pt"
    odd = {"skill": np.float32(0.5), "other": torch.tensor(2.0)}
    config = settings(lr=np.float64(1e-2))
    quiet_train(tiny_gpt(), config, evaluate=lambda model: odd, checkpoint=path)
    assert load_checkpoint(path, tiny_gpt())[-1]["skill"] == 0.5
    quiet_train(tiny_gpt(), config, evaluate=lambda model: odd, resume=path)


@pytest.mark.parametrize(
    ("name", "value"), [("lr", 5e-3), ("seed", 1), ("batch_size", 5), ("betas", (0.9, 0.99))]
)
def test_another_runs_settings_are_refused(checkpoint, name, value):
    model = tiny_gpt()
    before = tiny_gpt()
    with pytest.raises(ValueError, match=f"{name} must be .* to be resumed; got"):
        quiet_train(model, settings(**{name: value}), resume=checkpoint)
    assert same_weights(model, before)


@pytest.mark.parametrize(
    "other", [{"n_embd": 32}, {"n_layer": 2}, {"tied": False, "vocab_size": 9}, {"bias": False}]
)
def test_another_models_checkpoint_is_refused_and_changes_nothing(checkpoint, other):
    model, before = tiny_gpt(**other), tiny_gpt(**other)
    with pytest.raises(ValueError, match=r"checkpoint of another model: \S+ is .* in the file"):
        load_checkpoint(checkpoint, model)
    assert same_weights(model, before)


# Bad files


def refused(path):
    model, before = tiny_gpt(), tiny_gpt()
    with pytest.raises(ValueError, match=r"run\.pt is not a whole checkpoint of gptlib"):
        load_checkpoint(path, model)
    assert same_weights(model, before)
    run = Run(model, DATA, settings())
    with pytest.raises(ValueError, match=r"run\.pt is not a whole checkpoint of gptlib"):
        load_checkpoint(path, model, run)
    assert run.step == 0


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_short(checkpoint, share):
    for file in sorted(checkpoint.iterdir()) if checkpoint.is_dir() else [checkpoint]:
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        refused(checkpoint)
        file.write_bytes(content)
    load_checkpoint(checkpoint, tiny_gpt())


def test_an_old_file_with_one_changed_byte(tmp_path):
    path = tmp_path / "run.pt"
    save_old(path, tiny_gpt())
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        tensors = [part for part in archive.infolist() if "/data/" in part.filename]
        weights = max(tensors, key=lambda part: part.file_size)
    content[weights.header_offset + 200 + weights.file_size // 2] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # torch itself does not see it
    refused(path)


def test_an_old_file_of_another_version_is_told_so(tmp_path):
    path = tmp_path / "run.pt"
    save_old(path, tiny_gpt())
    state = torch.load(path, weights_only=True)
    torch.save({**state, "format": "gptlib checkpoint 0"}, path)
    with pytest.raises(ValueError, match="not marked as 'gptlib checkpoint 1'"):
        load_checkpoint(path, tiny_gpt())
    torch.save({**state, "more": 1}, path)
    with pytest.raises(ValueError, match="other entries than format model run"):
        load_checkpoint(path, tiny_gpt())


def test_an_old_file_with_foreign_entries_in_its_run_is_told_so(tmp_path):
    path = tmp_path / "run.pt"
    run = Run(tiny_gpt(), DATA, settings(context_length=8))
    save_old(path, run.model, run)
    state = torch.load(path, weights_only=True)
    told = json.loads(state["run"]["json"])
    place = {**told["place"], "more": 1}
    for wrong, entries in (
        ({"more": 1}, "json optimizer data_rng cpu_rng cuda_rng"),
        ({"json": json.dumps({**told, "more": 1})}, "config history place"),
        ({"json": json.dumps({**told, "place": place})}, "step tokens seconds"),
        ({"optimizer": {**state["run"]["optimizer"], "more": 1}}, "state param_groups"),
    ):
        torch.save({**state, "run": {**state["run"], **wrong}}, path)
        with pytest.raises(ValueError, match=f"it has other entries than {entries}"):
            load_checkpoint(path, tiny_gpt())


def other_contents():
    state_dict = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, state_dict)
    tensor = io.BytesIO()
    torch.save(torch.zeros(3), tensor)
    empty_zip = io.BytesIO()
    zipfile.ZipFile(empty_zip, "w").close()
    marked = io.BytesIO()
    torch.save({"format": "gptlib checkpoint 0"}, marked)
    return {
        "text": b"<html>not found</html>",
        "pickle": pickle.dumps({"model": {}}),
        "another state_dict": state_dict.getvalue(),
        "a tensor": tensor.getvalue(),
        "an empty zip": empty_zip.getvalue(),
        "another version": marked.getvalue(),
    }


@pytest.mark.parametrize("kind", other_contents())
def test_something_else_is_refused(tmp_path, kind):
    (tmp_path / "run.pt").write_bytes(other_contents()[kind])
    refused(tmp_path / "run.pt")


class Harm:
    def __reduce__(self):
        return os.mkdir, (os.environ["HARM"],)


def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    torch.save({"format": "gptlib checkpoint 1", "model": Harm()}, tmp_path / "run.pt")
    refused(tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"it asks for \w+\.mkdir, which no checkpoint needs"):
        load_checkpoint(tmp_path / "run.pt", tiny_gpt())
    assert not (tmp_path / "harm").exists()


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "run.pt", tiny_gpt())


# What is in it


def test_anybody_can_read_what_is_in_it(tmp_path):
    tokenizer = CharTokenizer("abcdefg")
    quiet_train(tiny_gpt(), settings(), checkpoint=tmp_path / "run", tokenizer=tokenizer)
    names = "config.json manifest.json model.safetensors run.json run.safetensors tokenizer.json"
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == names.split()
    weights = load_file(tmp_path / "run" / "model.safetensors")  # the format's own reader
    assert "token_embedding.weight" in weights and "head.weight" not in weights  # tied
    averages = load_file(tmp_path / "run" / "run.safetensors")
    assert averages["optimizer/token_embedding.weight.exp_avg"].shape == (7, 16)
    assert averages["optimizer/token_embedding.weight.step"] == STEPS
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["model"], config["config"]["n_head"]) == ("GPT", 2)
    assert CharTokenizer.load(tmp_path / "run" / "tokenizer.json").encode("cab") == [2, 0, 1]


def test_a_model_is_built_from_the_folder_alone(tmp_path):
    model = tiny_gpt(n_head=4).eval()
    save_checkpoint(tmp_path / "run", model)
    loaded = load_model(tmp_path / "run").eval()
    assert loaded.config == model.config
    assert torch.equal(loaded(DATA[None, :8])[0], model(DATA[None, :8])[0])
    save_checkpoint(tmp_path / "bigram", BigramModel(7))
    with pytest.raises(ValueError, match="holds BigramModel and no GPT"):
        load_model(tmp_path / "bigram")
    save_old(tmp_path / "old.pt", model)
    with pytest.raises(ValueError, match="does not describe"):
        load_model(tmp_path / "old.pt")


def test_a_model_of_ones_own_is_described_in_plain_values():
    np = pytest.importorskip("numpy")

    @dataclass
    class Config:
        width: int
        rate: float
        name: str
        table: list

    class Own(nn.Module):
        pass

    model = Own()
    assert description(model)["config"] == {"vocab_size": None, "context_length": None}
    model.config = Config(np.int64(3), torch.tensor(0.5), "x", [1])
    told = json.loads(json.dumps(description(nn.DataParallel(model))))
    assert told == {"model": "Own", "config": {"width": 3, "rate": 0.5, "name": "x"}}
    model.config = Config  # the class itself says nothing
    model.vocab_size = 5
    assert description(model)["config"] == {"vocab_size": 5, "context_length": None}


def test_a_forged_configuration_does_not_take_the_memory(tmp_path):
    from forging import sign

    save_checkpoint(tmp_path / "run", tiny_gpt())
    file = tmp_path / "run" / "config.json"
    for name, value in {"vocab_size": 10**9, "n_layer": 10**9, "n_embd": "x", "odd": 1}.items():
        told = json.loads(file.read_text())
        told["config"][name] = value
        file.write_text(json.dumps(told))
        sign(tmp_path / "run")
        with pytest.raises(ValueError, match="run"):
            load_model(tmp_path / "run")


# What is not ours


@pytest.mark.parametrize("change", [{"n_head": 4}, {"gelu": "none"}, {"norm": "post"}])
def test_a_model_that_computes_something_else_is_refused(tmp_path, change):
    save_checkpoint(tmp_path / "run", tiny_gpt())
    with pytest.raises(ValueError, match=rf"another model: {next(iter(change))} is .* in the file"):
        load_checkpoint(tmp_path / "run", tiny_gpt(**change))


def test_weights_alone_may_go_on_with_another_dropout(tmp_path):
    interrupted(tmp_path / "run")
    load_checkpoint(tmp_path / "run", tiny_gpt(dropout=0.0))
    with pytest.raises(ValueError, match=r"dropout is 0\.2 in the file and 0\.0"):
        quiet_train(tiny_gpt(dropout=0.0), settings(), resume=tmp_path / "run")


def test_another_class_is_refused_and_one_made_from_it_is_not(tmp_path):
    class Longer(GPT):
        pass

    save_checkpoint(tmp_path / "run", tiny_gpt())
    load_checkpoint(tmp_path / "run", Longer(tiny_gpt().config))
    save_checkpoint(tmp_path / "longer", Longer(tiny_gpt().config))
    with pytest.raises(ValueError, match="its class is Longer in the file and GPT"):
        load_checkpoint(tmp_path / "longer", tiny_gpt())


def test_other_data_and_another_tokenizer_are_refused(tmp_path):
    tokenizer, other = CharTokenizer("abcdefg"), CharTokenizer("hijklmn")
    path, config = tmp_path / "run", settings()
    quiet_train(tiny_gpt(), config, checkpoint=path, tokenizer=tokenizer)
    again = {"resume": path, "tokenizer": tokenizer}
    with pytest.raises(ValueError, match="train_data must be the same"):
        train(tiny_gpt(), DATA.flip(0), None, config, **again, progress=False)
    with pytest.raises(ValueError, match="starts must be the same"):
        quiet_train(tiny_gpt(), config, starts=torch.tensor([3]), **again)
    with pytest.raises(ValueError, match="made with another tokenizer"):
        quiet_train(tiny_gpt(), config, tokenizer=other, resume=path)
    with pytest.raises(ValueError, match="has a tokenizer: to go on"):
        quiet_train(tiny_gpt(), config, resume=path)
    quiet_train(tiny_gpt(), config, **again)
    short = DATA.to(torch.int16)  # the same ids in a smaller type
    train(tiny_gpt(), short, None, config, **again, progress=False)


def test_the_order_of_the_parameters_does_not_matter(tmp_path):
    class Two(nn.Module):
        def __init__(self, names):
            super().__init__()
            for name in names:
                self.add_module(name, nn.Linear(7, 7, bias=False))

        def forward(self, idx, targets):
            logits = self.a(self.b(nn.functional.one_hot(idx, 7).float()))
            return logits, nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    config = settings(context_length=4)
    run = Run(Two("ab"), DATA, config)
    run.update()
    save_checkpoint(tmp_path / "run", run.model, run)
    turned = Run(Two("ba"), DATA, config)
    load_checkpoint(tmp_path / "run", turned.model, turned)
    for name in "ab":
        states = [r.optimizer.state[getattr(r.model, name).weight] for r in (run, turned)]
        assert torch.equal(states[0]["exp_avg"], states[1]["exp_avg"])


def test_what_is_wrapped_around_a_model_is_not_saved(tmp_path):
    model = tiny_gpt()
    save_checkpoint(tmp_path / "run", torch.compile(model))
    other = tiny_gpt()
    nn.init.ones_(other.head.weight)
    load_checkpoint(tmp_path / "run", nn.DataParallel(torch.compile(other)))
    assert same_weights(model, other)
    save_old(tmp_path / "old.pt", torch.compile(model))
    load_checkpoint(tmp_path / "old.pt", tiny_gpt())


def test_weights_that_are_no_numbers_are_neither_kept_nor_taken(tmp_path):
    path, model = tmp_path / "run", tiny_gpt()
    save_checkpoint(path, model)
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"finite weights; token_embedding\.weight holds nan"):
        save_checkpoint(path, model)
    load_checkpoint(path, tiny_gpt())
    save_old(tmp_path / "old.pt", model)
    with pytest.raises(ValueError, match="holds nan or inf"):
        load_checkpoint(tmp_path / "old.pt", tiny_gpt())


def test_a_finished_state_dict_goes_into_another_run():
    one, other = (Run(tiny_gpt(), DATA, settings(context_length=8)) for _ in range(2))
    one.history.append(one.update())
    before = other.state_dict()
    with pytest.raises(ValueError, match="has other entries"):
        other.load_state_dict({**one.state_dict(), "device": "cuda"})
    assert str(other.state_dict()) == str(before)
    other.load_state_dict(one.state_dict())
    assert (other.step, other.tokens, other.history) == (1, 64, one.history)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_gpu_s_random_numbers_are_kept_too(monkeypatch, kind):
    module, state = getattr(torch, kind), [torch.arange(9, dtype=torch.uint8)]
    monkeypatch.setattr(module, "get_rng_state", lambda *device: state[0])
    monkeypatch.setattr(module, "set_rng_state", lambda new, *device: state.append(new))
    kept = random_states(torch.device(kind))
    assert torch.equal(kept[kind], state[0])
    set_random_states(kept, torch.device(kind))
    assert len(state) == 2
    set_random_states(kept, torch.device("cpu"))
    set_random_states({"cpu": kept["cpu"]}, torch.device(kind))  # saved on a CPU
    assert len(state) == 2


# Where it is written


def test_a_path_that_cannot_be_written_to_is_told_before_the_first_step(tmp_path, monkeypatch):
    seen = []

    def look(step, model, metrics):
        seen.append(step)

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "file.txt").write_text("mine")
    for bad in ("missing/run", "notes", "file.txt", "file.txt/run"):
        with pytest.raises(ValueError, match="path must"):
            quiet_train(tiny_gpt(), settings(), checkpoint=tmp_path / bad, callbacks=[look])
    with pytest.raises(ValueError, match="path must name a place"):
        quiet_train(tiny_gpt(), settings(), checkpoint="~nobody-at-all/run", callbacks=[look])
    assert seen == []
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    quiet_train(tiny_gpt(), settings(), checkpoint="~/run")
    load_checkpoint("~/run", tiny_gpt())


def test_an_old_file_is_gone_on_from_and_replaced(tmp_path):
    path = tmp_path / "run.pt"
    run = Run(tiny_gpt(), DATA, settings(context_length=8))
    save_old(path, run.model, run)
    quiet_train(run.model, settings(), resume=path, checkpoint=path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    assert load_checkpoint(path, tiny_gpt())[-1]["step"] == STEPS


def test_an_old_file_s_warm_up_was_resolved_and_is_the_same(checkpoint):
    quiet_train(tiny_gpt(), settings(warmup_steps=0), resume=checkpoint)  # a tenth of 9 is 0
    with pytest.raises(ValueError, match="warmup_steps must be 0, as in the run"):
        quiet_train(tiny_gpt(), replace(settings(), warmup_steps=1), resume=checkpoint)
