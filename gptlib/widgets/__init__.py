"""Pictures to play with, on a model and data of your own.

from gptlib.widgets import DistributionExplorer
DistributionExplorer(logits, labels)
"""

from gptlib.widgets.attention_explorer import AttentionExplorer
from gptlib.widgets.cache_growth import CacheGrowth
from gptlib.widgets.distribution_explorer import DistributionExplorer
from gptlib.widgets.expert_routing import ExpertRouting
from gptlib.widgets.live_gpt import LiveGPT, switched_off
from gptlib.widgets.live_training import LiveTraining
from gptlib.widgets.model_file import export_model, import_model
from gptlib.widgets.model_picture import ModelPicture
from gptlib.widgets.rotation_explorer import RotationExplorer
from gptlib.widgets.signal_explorer import SignalExplorer
from gptlib.widgets.tape import Tape
from gptlib.widgets.tokenizer_explorer import TokenizerExplorer
from gptlib.widgets.training_scrubber import TrainingScrubber

__all__ = [
    "AttentionExplorer",
    "CacheGrowth",
    "DistributionExplorer",
    "ExpertRouting",
    "LiveGPT",
    "LiveTraining",
    "ModelPicture",
    "RotationExplorer",
    "SignalExplorer",
    "Tape",
    "TokenizerExplorer",
    "TrainingScrubber",
    "export_model",
    "import_model",
    "switched_off",
]
