"""An environment with the versions that Colab has, laid over `.venv`, for a test.

What Colab has of the packages that a notebook meets stands in `book/colab.lock`, but for torch:
that is a large download, and the environment takes the book's own. Standard library only.
"""

import sys

import laid_over
from environment import BOOK, OTHERS

LOCK = BOOK / "colab.lock"
COLAB = OTHERS / "colab"


def is_possible():
    """Whether Colab's versions have wheels for this Python: Colab's own is 3.13."""
    return sys.version_info < (3, 14)


def is_ready():
    """Whether the environment stands here and holds what is wanted."""
    return laid_over.is_ready(LOCK, COLAB)


def setup():
    """Make the environment, where it is possible and not there yet; needs a network."""
    if is_possible():
        laid_over.make(LOCK, COLAB, "what Colab has")
