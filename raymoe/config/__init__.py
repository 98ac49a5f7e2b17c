"""Every setting of every stage, as validated data. Nothing here imports torch, Ray or numpy.

A ``Preset`` holds one object per section; ``load_preset`` reads one from its TOML file: one of the files in
``presets``, or a user's own. ``describe`` explains the fields, for ``raymoe settings`` and docs/settings.md.
"""

from raymoe.config.data import (
    DataConfig,
    EncoderConfig,
    EnricoData,
    MMHS150KData,
    MMIMDbData,
    ModalityConfig,
    PlantedData,
    Split,
    TableData,
    TaskName,
)
from raymoe.config.explaining import AttributeConfig, ProbeConfig, ReportConfig
from raymoe.config.loading import load_preset, preset_names
from raymoe.config.model import ModelConfig
from raymoe.config.overrides import grid_setting
from raymoe.config.preset import Preset
from raymoe.config.training import Metric, SweepConfig, TrainConfig

__all__ = [
    "AttributeConfig",
    "DataConfig",
    "EncoderConfig",
    "EnricoData",
    "MMHS150KData",
    "MMIMDbData",
    "Metric",
    "ModalityConfig",
    "ModelConfig",
    "PlantedData",
    "Preset",
    "ProbeConfig",
    "ReportConfig",
    "Split",
    "SweepConfig",
    "TableData",
    "TaskName",
    "TrainConfig",
    "grid_setting",
    "load_preset",
    "preset_names",
]
