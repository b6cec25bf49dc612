"""Frozen, validated models of an experiment, their files and their overrides; knows nothing of torch."""

from perturblearn.config.loading import commented_toml, config_tree, fields, parse_value, resolve_config, to_toml
from perturblearn.config.models import (
    NOISE_SOURCES,
    TWO_LAYER,
    AttackConfig,
    ClassifierConfig,
    ControlsConfig,
    DataConfig,
    ExperimentConfig,
    MeasuresConfig,
    ModelConfig,
)

__all__ = [
    "NOISE_SOURCES",
    "TWO_LAYER",
    "AttackConfig",
    "ClassifierConfig",
    "ControlsConfig",
    "DataConfig",
    "ExperimentConfig",
    "MeasuresConfig",
    "ModelConfig",
    "commented_toml",
    "config_tree",
    "fields",
    "parse_value",
    "resolve_config",
    "to_toml",
]
