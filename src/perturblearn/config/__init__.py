"""Frozen, validated models of an experiment, their files and their overrides; knows nothing of torch."""

from perturblearn.config.attack import NOISE_SOURCES, AttackConfig
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

__all__ = [
    "NETWORKS",
    "NOISE_SOURCES",
    "TWO_LAYER",
    "AttackConfig",
    "ClassifierConfig",
    "ControlsConfig",
    "DataConfig",
    "ExperimentConfig",
    "MeasuresConfig",
    "MixingConfig",
    "ModelConfig",
    "commented_toml",
    "config_tree",
    "fields",
    "given_tree",
    "parse_value",
    "resolve_config",
    "to_toml",
]
