"""An environment with TensorBoard, MLflow and Trackio, laid over `.venv`, for a test.

The course needs none of them, and two want older versions of what `.venv` has. What they bring
stands in `book/trackers.lock`, which `make lock` writes. Standard library only.
"""

import laid_over
from environment import BOOK, OTHERS

LOCK = BOOK / "trackers.lock"
TRACKERS = OTHERS / "trackers"


def is_ready():
    """Whether the environment stands here and holds what is wanted."""
    return laid_over.is_ready(LOCK, TRACKERS)


def setup():
    """Make the environment, where it is not there yet; needs a network."""
    laid_over.make(LOCK, TRACKERS, "TensorBoard, MLflow and Trackio")
