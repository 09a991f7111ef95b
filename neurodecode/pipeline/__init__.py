"""A cohort from raw files to reports with one command: the stages of a pipelines/*.yaml, skipping what is already done.

run_pipeline(load_pipeline("demo"), Path("out"))
"""

from neurodecode.pipeline.cards import folder_of, load_card, sources_of
from neurodecode.pipeline.cohort import issue_line
from neurodecode.pipeline.run import run_pipeline
from neurodecode.pipeline.settings import load_pipeline, stage_settings, training_settings
from neurodecode.pipeline.stages import Stages

__all__ = [
    "Stages",
    "folder_of",
    "issue_line",
    "load_card",
    "load_pipeline",
    "run_pipeline",
    "sources_of",
    "stage_settings",
    "training_settings",
]
