"""Exercise of chapter 7: which parameters decay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from gptlib.exercises.task import Mistake, Task, Use, Wrong
from gptlib.training import parameter_groups


class Groups(Use):
    """The groups of a small model's parameters; for each parameter, the decay that it gets."""

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        parts, decay = given
        model = _model(parts)
        groups = answer(model, decay)
        if not isinstance(groups, list | tuple) or not all(isinstance(g, dict) for g in groups):
            raise Wrong("A list of dictionaries is asked for, one for each group.")
        seen: dict[str, tuple[Any, ...]] = {name: () for name, _ in model.named_parameters()}
        names = {id(p): name for name, p in model.named_parameters()}
        for group in groups:
            if not isinstance(group.get("params"), list | tuple):
                raise Wrong('Each group needs a list under "params"; a generator is read once.')
            for p in group["params"]:
                if id(p) not in names:
                    raise Wrong('Something in "params" is no parameter of the model.')
                kept = group.get("weight_decay", "the optimiser's")
                seen[names[id(p)]] += (kept,)
        return seen

    def shown(self, name: str, *given: Any) -> str:
        parts, decay = given
        return f"{name}(model, {decay}) of a model with {', '.join(parts)}; decay by parameter:"


def _model(parts: tuple[str, ...]) -> nn.Module:
    """A model of the parts that are named."""
    made: dict[str, Callable[[], nn.Module]] = {
        "table": lambda: nn.Embedding(5, 4),
        "linear": lambda: nn.Linear(4, 4),
        "norm": lambda: nn.LayerNorm(4),
        "conv": lambda: nn.Conv1d(4, 4, 3, bias=False),
        "tied": lambda: nn.Linear(4, 5, bias=False),
        "frozen": lambda: nn.Linear(4, 4).requires_grad_(False),
    }
    model: Any = nn.ModuleDict({part: made[part]() for part in parts})
    if "tied" in parts:
        model["tied"].weight = model["table"].weight
    return model


def models(seed: int) -> Iterator[tuple[Any, ...]]:
    """Parts of a model and a decay: the ordinary ones first, then what is rarer."""
    yield ("table", "linear", "norm"), 0.1
    yield ("table", "norm", "tied"), 0.1
    yield ("linear", "frozen"), 0.1
    yield ("conv", "linear"), round(0.01 + 0.01 * seed, 2)


def trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters of a model that are trained, by name; a tied one once."""
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def _grouped(
    decays: Callable[[str, nn.Parameter], bool],
    among: Callable[[nn.Module], list] = lambda model: list(trained(model)),
) -> Callable[[nn.Module, float], list]:
    def groups(model: nn.Module, weight_decay: float) -> list:
        yes = [p for name, p in among(model) if decays(name, p)]
        no = [p for name, p in among(model) if not decays(name, p)]
        return [
            {"params": no, "weight_decay": 0.0},
            {"params": yes, "weight_decay": weight_decay},
        ]

    return groups


def _by_module(model: nn.Module) -> list:
    """Each part's own parameters; what is tied comes twice."""
    return [
        (name, p)
        for part in model.modules()
        for name, p in part.named_parameters(recurse=False)
        if p.requires_grad
    ]


def _read_once(model: nn.Module, weight_decay: float) -> list:
    parameters = (p for p in model.parameters() if p.requires_grad)
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


PARAMETER_GROUPS = Task(
    name="training.parameter_groups",
    asks="Two groups, as dictionaries with params and weight_decay: what has two axes or more "
    "decays, vectors do not.",
    reference=parameter_groups,
    inputs=models,
    hints=(
        "What do a bias and the scale of a norm have in common, that a table has not?",
        "p.dim() says how many axes a parameter has. Make a list of model.parameters() first, of "
        "those with p.requires_grad.",
        'Two dictionaries: {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": '
        'weight_decay}, and one for the rest with 0.0.',
    ),
    mistakes=(
        Mistake(
            "All parameters decay, the scales of the norms too, which are pulled from 1 to 0.",
            _grouped(lambda name, p: True),
        ),
        Mistake("Nothing decays.", _grouped(lambda name, p: False)),
        Mistake(
            "The groups are exchanged: vectors decay, and matrices do not.",
            _grouped(lambda name, p: p.dim() < 2),
        ),
        Mistake(
            "Whoever goes by the word bias lets the scales of the norms decay: they are called "
            "weight.",
            _grouped(lambda name, p: "bias" not in name),
        ),
        Mistake(
            "Embedding tables are left out of the decay; they are matrices, and decay here.",
            _grouped(lambda name, p: p.dim() >= 2 and "table" not in name),
        ),
        Mistake(
            "The vectors are in no group, so they would never be trained. (A generator such as "
            "model.parameters() can be read once.)",
            _read_once,
        ),
        Mistake(
            "The second group says nothing about its decay, and so gets the optimiser's own: "
            "0.01 in AdamW, not 0.",
            lambda model, weight_decay: [
                parameter_groups(model, weight_decay)[0],
                {"params": parameter_groups(model, 0.0)[1]["params"]},
            ],
        ),
        Mistake(
            "A tied weight comes twice, once for each of its names; it is one parameter.",
            _grouped(lambda name, p: p.dim() >= 2, _by_module),
        ),
        Mistake(
            "Parameters that are frozen, with requires_grad False, are handed to the optimiser.",
            _grouped(lambda name, p: p.dim() >= 2, lambda model: list(model.named_parameters())),
        ),
        Mistake(
            "What has three axes, such as the weight of a convolution, is taken for a vector.",
            _grouped(lambda name, p: p.dim() == 2),
        ),
    ),
    right=(
        _grouped(lambda name, p: p.dim() >= 2),
        lambda model, weight_decay: [
            {"params": [p], "weight_decay": weight_decay if p.ndim > 1 else 0.0}
            for p in model.parameters()
            if p.requires_grad
        ],
    ),
    use=Groups(),
)  # fmt: skip

TASKS = (PARAMETER_GROUPS,)
