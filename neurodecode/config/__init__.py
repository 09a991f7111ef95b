"""Every setting, typed; one file a stage. Imports no other room, neither torch nor mne."""

from neurodecode.config.base import Settings, apply_overrides, load_settings, parse_yaml, read_yaml, validate, with_base
from neurodecode.config.codebook import (
    ClassifierSettings,
    CodebookEncoderSettings,
    MaskedEncoderSettings,
    MaskedObjectiveSettings,
    QuantizerSettings,
    TokenizerObjectiveSettings,
    TokenizerSettings,
)
from neurodecode.config.codebook_training import CodebookTrainingSettings, CodebookTrainSettings, load_training
from neurodecode.config.evaluation import EvaluationSettings
from neurodecode.config.features import FeatureSettings
from neurodecode.config.models import ContextSettings, ModelSettings, SpeechSettings
from neurodecode.config.pipeline import CohortCard, PipelineSettings, PublishedFigure
from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.config.segments import (
    AnchorSettings,
    ScalingSettings,
    SegmentSettings,
    SplitSettings,
    WindowSettings,
)
from neurodecode.config.simulation import SimulationSettings
from neurodecode.config.training import AugmentSettings, ObjectiveSettings, TrainingSettings, TrainSettings

__all__ = [
    "AnchorSettings",
    "AugmentSettings",
    "ClassifierSettings",
    "CodebookEncoderSettings",
    "CodebookTrainSettings",
    "CodebookTrainingSettings",
    "CohortCard",
    "ContextSettings",
    "EvaluationSettings",
    "FeatureSettings",
    "MaskedEncoderSettings",
    "MaskedObjectiveSettings",
    "ModelSettings",
    "ObjectiveSettings",
    "PipelineSettings",
    "PreprocessingSettings",
    "PublishedFigure",
    "QuantizerSettings",
    "ScalingSettings",
    "SegmentSettings",
    "Settings",
    "SimulationSettings",
    "SpeechSettings",
    "SplitSettings",
    "TokenizerObjectiveSettings",
    "TokenizerSettings",
    "TrainSettings",
    "TrainingSettings",
    "WindowSettings",
    "apply_overrides",
    "load_settings",
    "load_training",
    "parse_yaml",
    "read_yaml",
    "validate",
    "with_base",
]
