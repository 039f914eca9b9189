"""What a chapter needs because it is a notebook: a class that is built piece by piece."""

from __future__ import annotations

import pytest

from gptlib.given.notebook import add_to


def test_a_class_in_pieces_is_the_class_in_one():
    class Dog:
        def __init__(self, name):
            self.name = name

    @add_to(Dog)
    def bark(self):
        return f"{self.name}!"

    @add_to(Dog)
    @property
    def letters(self):
        return len(self.name)

    @add_to(Dog)
    @classmethod
    def stray(cls):
        return cls("?")

    @add_to(Dog)
    @staticmethod
    def legs():
        return 4

    rex = Dog("Rex")
    assert (rex.bark(), rex.letters, Dog.stray().bark(), Dog.legs()) == ("Rex!", 3, "?!", 4)
    # In a traceback a piece goes by the class's name, as in one that was written whole.
    assert [Dog.bark.__qualname__, Dog.stray.__qualname__, Dog.legs.__qualname__] == [
        f"{Dog.__qualname__}.{name}" for name in ("bark", "stray", "legs")
    ]
    assert vars(Dog)["letters"].fget.__qualname__ == f"{Dog.__qualname__}.letters"
    assert bark is Dog.bark and isinstance(letters, property)  # the cell's name is the piece


def test_a_class_that_the_learner_wrote_whole_stays_as_it_is():
    class Whole:
        written_by_learner = True

        def bark(self):
            return "mine"

    @add_to(Whole)
    def bark(self):
        return "the chapter's"

    @add_to(Whole)
    def added(self):
        """Not there either: the learner's class is finished."""

    assert Whole().bark() == "mine" and bark(None) == "the chapter's"
    assert not hasattr(Whole, "added") and added(None) is None


def test_a_piece_without_a_name_is_none():
    class Dog:
        pass

    with pytest.raises(AttributeError):
        add_to(Dog)("a text")
