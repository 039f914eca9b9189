"""The GPT in MLX: PyTorch's model and its training run are the oracles; and a notebook without MLX.

MLX has wheels for some systems alone. Elsewhere its tests are not there, and the summary says so.
"""

from __future__ import annotations

import importlib.util
import json
import sys

import nbformat
import numpy as np
import pytest
import torch
from chapterfiles import chapters, code_cells, tags
from course import course
from execution import execute
from notebooks import CHECKED
from safetensors.torch import save_model
from test_numpy_gpt import FORMS, SMALL, arrays, logits_of, stirred

from gptlib.generation import generate as generate_in_torch
from gptlib.given.records import load_recorded, recorded_file
from gptlib.gpt import GPT, GPTConfig
from gptlib.training import TrainConfig, get_batch, learning_rate, train

HAS_MLX = importlib.util.find_spec("mlx") is not None


def test_the_summary_says_where_mlx_is_missing(record_property):
    if not HAS_MLX:
        record_property("python", "MLX: not on this system; appendix B was run without it")


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in chapters(course()) if p.stem == "b1_mlx"])
def test_the_notebook_runs_without_mlx_and_shows_what_was_recorded(path, tmp_path):
    """As on Windows: each stored output comes out of the record, and the reader is told."""
    notebook = nbformat.read(path, as_version=4)
    stored = {cell.id: cell.outputs for cell in code_cells(notebook) if CHECKED in tags(cell)}
    hide = nbformat.v4.new_code_cell("import sys\nsys.modules['mlx'] = None", id="hide")
    notebook.cells.insert(0, hide)
    execute(notebook, tmp_path / path.name)
    said = {cell.id: cell.outputs for cell in code_cells(notebook)}
    assert "shows what was recorded" in json.dumps(said["b1-here"])
    for name, outputs in stored.items():
        assert [o.text for o in said[name]] == [o.text for o in outputs], name


if HAS_MLX:
    import mlx.core as mx
    import mlx.optimizers as optim

    from gptlib.appendix import mlx_gpt
    from gptlib.appendix.mlx_gpt import generate, load, make_optimizer, make_step, operations

    @pytest.fixture(autouse=True)
    def on_the_cpu():
        """A Mac's GPU rounds otherwise."""
        before = mx.default_device()
        mx.set_default_device(mx.cpu)
        yield
        mx.set_default_device(before)

    def ported(model: GPT) -> mlx_gpt.GPT:
        return load(arrays(model.float()), model.config)

    @pytest.mark.parametrize("form", ["tanh", "none"])
    def test_the_activation_is_pytorch_s(form):
        x = torch.linspace(-5, 5, 201)
        ours = np.array(mlx_gpt.gelu(mx.array(x.numpy()), form))
        theirs = torch.nn.functional.gelu(x.double(), approximate=form).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)

    @pytest.mark.parametrize("form", FORMS)
    def test_the_logits_are_pytorch_s(form):
        model = stirred(GPTConfig(**{**SMALL, **form}))
        idx = np.random.default_rng(1).integers(0, 50, (4, 12))
        theirs = logits_of(model, idx)  # in float64: the difference is MLX's rounding alone
        ours = np.array(ported(model)(mx.array(idx)))
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-5)
        other = {**model.config.__dict__, "gelu": "none" if model.config.gelu == "tanh" else "tanh"}
        wrong = load(arrays(model), GPTConfig(**other))(mx.array(idx))
        assert np.abs(np.array(wrong) - theirs).max() > 5e-4  # so a wrong formula is seen

    def test_the_recorded_weights_give_the_recorded_model_s_logits():
        config = GPTConfig.preset("stories")
        model = GPT(config).eval()
        load_recorded(model, "stories")
        ours = load(recorded_file("stories", ".safetensors"), config)
        idx = np.random.default_rng(1).integers(0, 1536, (3, 128))
        apart = np.abs(np.array(ours(mx.array(idx))) - logits_of(model, idx)).max()
        assert apart < 1e-4

    @pytest.mark.parametrize("tied", [True, False])
    def test_a_saved_model_is_read(tied, tmp_path):
        model = GPT(GPTConfig(**SMALL, tied=tied))
        save_model(model, str(tmp_path / "model.safetensors"))
        idx = np.random.default_rng(2).integers(0, 50, (2, 12))
        ours = load(tmp_path / "model.safetensors", model.config)(mx.array(idx))
        np.testing.assert_allclose(np.array(ours), logits_of(model.eval(), idx), atol=1e-5)
        weights = arrays(model)
        weights.pop("final_norm.bias")
        with pytest.raises(ValueError, match=r"final_norm\.bias"):
            load(weights, model.config)
        weights["final_norm.bias"] = np.zeros(7)
        with pytest.raises(ValueError, match=r"[Ss]hape"):
            load(weights, model.config)

    @pytest.mark.parametrize("change", [{"norm": "post"}, {"dropout": 0.1}])
    def test_what_it_cannot_compute_is_refused(change):
        with pytest.raises(ValueError, match="norm must be 'pre' and dropout 0 here; got"):
            mlx_gpt.GPT(GPTConfig(**{**SMALL, **change}))

    @pytest.mark.parametrize("length", [1, 11, 12, 15])
    def test_it_writes_what_pytorch_writes_beyond_the_context_too(length):
        model = stirred(GPTConfig(**SMALL))
        idx = np.random.default_rng(3).integers(0, 50, (3, length))
        theirs = generate_in_torch(model, torch.from_numpy(idx), 20, temperature=0)
        ours = generate(ported(model), mx.array(idx), 20, lambda logits: logits.argmax(axis=-1))
        assert (np.array(ours) == theirs.numpy()).all()

    RECIPE = TrainConfig(
        steps=12, batch_size=4, lr=4e-3, weight_decay=0.3, grad_clip=0.5, device="cpu"
    )
    IDS = torch.arange(400) ** 2 % 47

    def losses_in_torch(model: GPT, recipe: TrainConfig) -> list[float]:
        """The loss of each step of chapter 7's `train`; the model is trained afterwards."""
        losses = []
        train(
            model, IDS, None, recipe, evaluate=lambda model: {}, progress=False,
            callbacks=[lambda step, model, metrics: losses.append(metrics["loss"])],
        )  # fmt: skip
        return losses[1:]

    def losses_in_mlx(model, optimizer, recipe: TrainConfig, compiled: bool = False) -> list[float]:
        """The same from the same batches."""
        step, losses = make_step(model, optimizer, recipe), []
        state = [model.state, optimizer.state]
        if compiled:
            step = mx.compile(step, inputs=state, outputs=state)
        draw = torch.Generator().manual_seed(recipe.seed)
        for number in range(1, recipe.steps + 1):
            batch = get_batch(IDS, recipe.batch_size, 12, generator=draw)
            optimizer.learning_rate = learning_rate(number, recipe)
            loss = step(*(mx.array(part.numpy()) for part in batch))
            mx.eval(loss, state)
            losses.append(loss.item())
        return losses

    @pytest.mark.parametrize("change", [{}, {"grad_clip": None}, {"betas": (0.8, 0.99)}])
    @pytest.mark.parametrize("form", FORMS)
    def test_each_loss_of_a_run_is_pytorch_s_and_so_are_the_weights_at_its_end(form, change):
        recipe = TrainConfig(**{**RECIPE.__dict__, **change})
        torch.manual_seed(0)
        model = GPT(GPTConfig(**{**SMALL, **form}))
        ours = ported(model)
        theirs = losses_in_torch(model, recipe)
        losses = losses_in_mlx(ours, make_optimizer(recipe), recipe)
        assert theirs[-1] < theirs[0] - 0.3
        np.testing.assert_allclose(losses, theirs, rtol=0, atol=2e-5)
        again = load(arrays(model), model.config)
        for (name, ended), (_, wanted) in zip(*map(flat, (ours, again)), strict=True):
            np.testing.assert_allclose(ended, wanted, rtol=0, atol=2e-4, err_msg=name)

    def flat(model):
        """The parameters of a model by name, as NumPy's."""
        from mlx.utils import tree_flatten

        return sorted((name, np.array(w)) for name, w in tree_flatten(model.parameters()))

    def test_with_mlx_s_own_settings_the_run_is_another():
        """AdamW without the correction of its averages: the comparison above would see it."""
        torch.manual_seed(0)
        model = GPT(GPTConfig(**SMALL))
        ours = ported(model)
        theirs = losses_in_torch(model, RECIPE)
        uncorrected = optim.AdamW(RECIPE.lr, betas=list(RECIPE.betas), weight_decay=0.3)
        losses = losses_in_mlx(ours, uncorrected, RECIPE)
        assert losses[0] == pytest.approx(theirs[0], abs=2e-5)
        assert max(abs(a - b) for a, b in zip(losses, theirs, strict=True)) > 1e-2

    @pytest.mark.slow
    def test_a_compiled_step_is_the_same_step():
        """Where there is no C++ compiler under Linux, MLX runs the function itself."""
        torch.manual_seed(0)
        model = GPT(GPTConfig(**{**SMALL, "n_layer": 1}))
        plain, compiled = (
            losses_in_mlx(ours, make_optimizer(RECIPE), RECIPE, compiled)
            for ours, compiled in ((ported(model), False), (ported(model), True))
        )
        np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-5)
        assert plain[-1] < plain[0] - 0.1

    if sys.platform == "linux":

        def test_float64_is_no_control_in_this_version():
            """Should MLX compute these two in full one day, appendix B gets its control back."""
            x = np.random.default_rng(0).normal(size=1000)
            exact = {"exp": np.exp(x), "erf": torch.from_numpy(x).erf().numpy()}
            for name, wanted in exact.items():
                apart = {}
                for kind in (mx.float32, mx.float64):
                    got = getattr(mx, name)(mx.array(x, dtype=kind))
                    apart[kind] = np.abs(np.array(got, dtype=float) - wanted).max()
                assert apart[mx.float64] > apart[mx.float32] / 10 > 1e-9

    def test_the_causal_masks_lie_in_two_corners():
        """With one query and five keys; whoever adds a cache must know which."""
        q, k, v = torch.zeros(1, 1, 1, 5), torch.zeros(1, 1, 5, 5), torch.eye(5)[None, None]
        seen = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        assert seen.flatten().tolist() == [1, 0, 0, 0, 0]
        q, k, v = (mx.array(part.numpy()) for part in (q, k, v))
        seen = mx.fast.scaled_dot_product_attention(q, k, v, scale=1.0, mask="causal")
        np.testing.assert_allclose(np.array(seen).flatten(), 0.2, rtol=1e-6)

    def test_a_compiled_step_whose_state_is_not_named_stands_still():
        torch.manual_seed(0)
        model = ported(GPT(GPTConfig(**{**SMALL, "n_layer": 1})))
        step = mx.compile(make_step(model, make_optimizer(RECIPE), RECIPE))
        batch = [mx.array(part.numpy()) for part in get_batch(IDS, 4, 12)]
        losses = {step(*batch).item() for _ in range(4)}
        compiles = "Compiled" in "".join(operations(mx.compile(mlx_gpt.gelu)(mx.ones(3))))
        assert len(losses) == (1 if compiles else 4)

    def test_a_compiled_function_is_called_again_for_another_shape_or_kind():
        """Where it compiles: what is Python's is frozen, for arrays of one shape and kind."""
        calls = []

        def scaled(x):
            calls.append(x.shape)
            return len(calls) * x

        quick = mx.compile(scaled)
        arrays_ = [mx.ones(1), mx.ones(1), mx.ones(2), mx.ones(1), mx.ones(1, dtype=mx.float16)]
        results = [quick(x)[0].item() for x in arrays_]
        compiles = "Compiled" in "".join(operations(mx.compile(mlx_gpt.gelu)(mx.ones(3))))
        assert results == ([1, 1, 2, 1, 3] if compiles else [1, 2, 3, 4, 5])

    def test_a_look_at_the_loss_bounds_the_notes_and_leaves_the_last_update_undone():
        notes = {}
        for look in (False, True):
            torch.manual_seed(0)
            model = ported(GPT(GPTConfig(**{**SMALL, "n_layer": 1})))
            step = make_step(model, make_optimizer(RECIPE), RECIPE)
            batch = [mx.array(part.numpy()) for part in get_batch(IDS, 4, 12)]
            notes[look] = []
            for _ in range(4):
                loss = step(*batch)
                if look:
                    loss.item()
                notes[look].append(len(operations(model.token_embedding.weight)))
        assert notes[False] == sorted(set(notes[False])) and notes[False][3] > 3 * notes[False][0]
        assert len(set(notes[True][1:])) == 1 and 0 < notes[True][3] < notes[False][3] / 3

    def test_what_is_noted_and_not_done_can_be_listed():
        x = mx.array([1.0, 2.0])
        assert operations(x) == []
        y = mx.exp(x) * x
        assert operations(y) == ["Exp", "Multiply"]
        mx.eval(y)
        assert operations(y) == []

    def test_after_a_generated_token_nothing_is_left_to_do():
        model = ported(stirred(GPTConfig(**SMALL)))
        seen = []

        def choose(logits):
            seen.append(len(operations(logits)))
            return logits.argmax(axis=-1)

        text = generate(model, mx.array([[1, 2, 3]]), 5, choose)
        assert operations(text) == [] and len(set(seen)) == 1 and seen[0] > 20
