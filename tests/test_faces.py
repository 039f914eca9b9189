"""What every face of a widget has to keep to: its traits are the whole truth, on a page too."""

from __future__ import annotations

import re

import pytest

import gptlib.widgets
from gptlib.widgets.widget import Widget, bundle

PUBLIC = [getattr(gptlib.widgets, name) for name in gptlib.widgets.__all__]
FACES = [thing for thing in PUBLIC if isinstance(thing, type) and issubclass(thing, Widget)]
every_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)


def own_traits(face):
    """The traits that a face adds to what every widget has."""
    return {n: t for n, t in face.class_traits().items() if n not in Widget.class_traits()}


@every_face
def test_every_trait_goes_to_the_page_and_its_script_knows_it(face):
    """A page without Python has the traits that are synchronised, and nothing else."""
    traits, script = own_traits(face), bundle(f"{face.__module__.rpartition('.')[2]}.js")
    assert len(traits) >= 5
    assert [name for name, trait in traits.items() if not trait.metadata.get("sync")] == []
    asked = set(re.findall(r'model\.(?:get|set)\("(\w+)"', script))
    assert asked and asked <= set(traits)
    words = set(re.findall(r"\w+", script))
    assert set(traits) <= words


@every_face
def test_what_a_face_begins_with_is_allowed(face):
    """The default of a trait lies within its bounds, which nobody looks at before it is set."""
    for name, trait in own_traits(face).items():
        value = trait.default_value
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = (getattr(trait, end, None) for end in ("min", "max"))
            assert low is None or value >= low, name
            assert high is None or value <= high, name
