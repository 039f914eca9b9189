"""Checkpoints: going on equals never having stopped, and a bad file is refused by name."""

import io
import os
import pickle
import zipfile

import pytest
import torch

from gptlib.checkpoint import load_checkpoint, replacing, save_checkpoint
from gptlib.gpt import GPT, GPTConfig
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


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    interrupted(path)
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
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    refused(checkpoint)


def test_a_file_with_one_changed_byte(checkpoint):
    content = bytearray(checkpoint.read_bytes())
    with zipfile.ZipFile(checkpoint) as archive:
        tensors = [part for part in archive.infolist() if "/data/" in part.filename]
        weights = max(tensors, key=lambda part: part.file_size)
    content[weights.header_offset + 200 + weights.file_size // 2] ^= 1
    checkpoint.write_bytes(content)
    torch.load(checkpoint, weights_only=True)  # torch itself does not see it
    refused(checkpoint)


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
    assert not (tmp_path / "harm").exists()


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "run.pt", tiny_gpt())


def test_writing_that_fails_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    save_checkpoint(path, tiny_gpt())
    old = path.read_bytes()

    def fail(state, to):
        to.write_bytes(b"half a file")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, tiny_gpt())
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_appears_all_at_once(tmp_path):
    path = tmp_path / "notes.txt"
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == tmp_path  # the same disk, or renaming would copy
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]
