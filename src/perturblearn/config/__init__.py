"""Frozen, validated models of an experiment, their files and their overrides; knows nothing of torch."""

from perturblearn.config.attack import NOISE_SOURCES, AttackConfig
from perturblearn.config.axes import Axis
from perturblearn.config.classifier import ClassifierConfig
from perturblearn.config.data import DataConfig
from perturblearn.config.experiment import ControlsConfig, ExperimentConfig, MeasuresConfig
from perturblearn.config.loading import (
    commented_toml,
    config_tree,
    fields,
    given_tree,
    parse_value,
    resolve_config,
    to_toml,
)
from perturblearn.config.mixing import MixingConfig
from perturblearn.config.model import NETWORKS, TWO_LAYER, ModelConfig
from perturblearn.config.sweep import KEEPS, Keep, Sweep, describe, resolve_sweep

__all__ = [
    "KEEPS",
    "NETWORKS",
    "NOISE_SOURCES",
    "TWO_LAYER",
    "AttackConfig",
    "Axis",
    "ClassifierConfig",
    "ControlsConfig",
    "DataConfig",
    "ExperimentConfig",
    "Keep",
    "MeasuresConfig",
    "MixingConfig",
    "ModelConfig",
    "Sweep",
    "commented_toml",
    "config_tree",
    "describe",
    "fields",
    "given_tree",
    "parse_value",
    "resolve_config",
    "resolve_sweep",
    "to_toml",
]
