"""Perturbations of one architecture, learned by another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from perturblearn.config import ExperimentConfig, Keys, resolve_config
from perturblearn.data import Dataset, draws_split
from perturblearn.errors import ConfigError
from perturblearn.experiment.audit import network_keys
from perturblearn.experiment.checks import Fooling
from perturblearn.experiment.experiment import Experiment
from perturblearn.experiment.summary import Summary, summarise
from perturblearn.experiment.together import key_of
from perturblearn.graph import Executor

Pair = tuple[str, str]
"""The architecture that was attacked, and the one that learns or is fooled."""


@dataclass(frozen=True)
class FoolingSummary:
    """How often the perturbed inputs of one network fool another, over the seeds; None where it was not measured.

    Args:
        success: share of them that the other network gives their target, where that is not the label.
        error: share that it no longer recognises, of those whose source it recognises.
    """

    success: Summary | None = None
    error: Summary | None = None


class Transfer:
    """Every architecture's perturbations, learned by every architecture.

    Whether perturbations of A fool B is measured on the held-out perturbed set and an f of architecture B that was
    trained independently: that of the next seed, the last seed's being followed by the first. With one seed, or where
    every seed draws its own held-out part from the same samples, it is that of the same seed, which has seen none of
    them, and a network is not asked about its own perturbations.

    Args:
        base: data, attack, seeds, and what all networks have in common.
        architectures: networks, each with keys of its own such as ``{"epochs": 12, "model.width": 0.5}``, which apply
            in both roles.
        dataset: data handed over as an object; None to load what the configuration names.
        data_dir: where named data lie; None for the environment's choice.

    Raises:
        ConfigError: values that do not go together.
        DataError: the data's files are not there or cannot be read.
    """

    def __init__(
        self,
        base: ExperimentConfig,
        architectures: Mapping[str, Keys],
        *,
        dataset: Dataset | None = None,
        data_dir: str | Path | None = None,
    ) -> None:
        self.architectures = tuple(architectures)
        self._draws_split = dataset is None and draws_split(base.data)
        self.experiments: dict[Pair, Experiment] = {}
        for attacked, of_f in architectures.items():
            for learner, of_g in architectures.items():
                keys = network_keys("standard", attacked, of_f) | network_keys("perturbation", learner, of_g)
                config = resolve_config(base, keys)
                _require_one_rate(config)
                self.experiments[attacked, learner] = Experiment(config, dataset=dataset, data_dir=data_dir)
        self.fooling: dict[Pair, dict[int, Fooling | None]] = {
            pair: {seed: self._fooling_stage(pair, seed) for seed in base.seeds} for pair in self.experiments
        }

    @property
    def beside(self) -> list[Fooling]:
        """What is measured besides the experiments."""
        return [stage for of_pair in self.fooling.values() for stage in of_pair.values() if stage is not None]

    @cached_property
    def key(self) -> str:
        """SHA-256 of all stages that are wanted."""
        return key_of(list(self.experiments.values()), self.beside)

    def measures_of_fooling(self, executor: Executor) -> dict[Pair, FoolingSummary]:
        """By pair, how often the first network's perturbed inputs fool the second one."""
        found: dict[Pair, FoolingSummary] = {}
        for pair, of_pair in self.fooling.items():
            none = {"success": None, "error": None}
            measured = [none if stage is None else executor.result(stage) for stage in of_pair.values()]
            success, error = ([values[name] for values in measured] for name in ("success", "error"))
            found[pair] = FoolingSummary(summarise(success), summarise(error))
        return found

    def _fooling_stage(self, pair: Pair, seed: int) -> Fooling | None:
        attacked, fooled = pair
        seeds = list(self.experiments[pair].seeds)
        other = seed if self._draws_split else seeds[(seeds.index(seed) + 1) % len(seeds)]
        if other == seed and attacked == fooled:
            return None
        attacking = self.experiments[pair].seeds[seed].branches[0]
        return Fooling(
            perturbed=attacking.heldout_perturbed,
            classifier=self.experiments[fooled, fooled].seeds[other].branches[0].standard,
            attacked=attacked,
            fooled=fooled,
            of_seed=seed,
            context=self.experiments[pair].context,
        )


def _require_one_rate(config: ExperimentConfig) -> None:
    """Raise a ConfigError for several learning rates: whose perturbations fool whom would depend on the choice."""
    for role, section in (("standard", config.standard), ("perturbation", config.perturbation)):
        if len(section.lr) > 1:
            raise ConfigError(
                f"{role}.lr of {section.model.name} has several values, but a transfer matrix trains each network at "
                "one; choose one"
            )
