"""Pictures to play with, on a model and data of your own.

from gptlib.widgets import DistributionExplorer
DistributionExplorer(logits, labels)
"""

from gptlib.widgets.distribution_explorer import DistributionExplorer
from gptlib.widgets.signal_explorer import SignalExplorer

__all__ = ["DistributionExplorer", "SignalExplorer"]
