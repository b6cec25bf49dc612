"""Trials of the user's own networks before anything of a plan is run."""

from __future__ import annotations

from collections import defaultdict

import torch

from perturblearn.classifiers import features_of, try_out
from perturblearn.config import RebuildConfig, UntrainedConfig
from perturblearn.data import Dataset, Signature
from perturblearn.errors import PerturbLearnError
from perturblearn.experiment.checks import BottleneckOf
from perturblearn.experiment.networks import first_network
from perturblearn.experiment.steps import Data, Shard
from perturblearn.experiment.training import DeepTraining, named
from perturblearn.graph import Plan

_SAMPLES = 32


def try_networks(plan: Plan) -> None:
    """Try every network of the user's own that a plan will make, on some of its data.

    Of every network, ours too, from whose features inputs will be rebuilt or whose units will bear noise, these are
    looked for.

    Raises:
        ModelError: one cannot be used, or has no such features.
        DataError: the data cannot be read.
    """
    loaded: dict[str, Dataset] = {}
    tried: set[tuple[str, str, bool, frozenset[tuple[str | None, str]]]] = set()
    wanted: dict[str, set[tuple[str | None, str]]] = defaultdict(set)
    for stage in plan.stages:
        if isinstance(stage, Shard) and isinstance(stage.attack, RebuildConfig):
            wanted[stage.standard.key].add((stage.attack.layer, "attack.layer"))
        if isinstance(stage, BottleneckOf):
            for standard in stage.standard:
                wanted[standard.key].add((stage.layer, "measures.bottleneck_layer"))
    for stage in plan.stages:
        if not (isinstance(stage, DeepTraining) and isinstance(stage.data, Data)):
            continue
        layers = frozenset(wanted[stage.key])
        if not layers and not stage.section.model.is_own:
            continue
        trains = not isinstance(stage.section, UntrainedConfig)
        known = (stage.section.model.model_dump_json(), stage.data.key, trains, layers)
        if plan.status[stage.key] == "finished" or known in tried:
            continue
        tried.add(known)
        data = loaded.get(stage.data.key)
        if data is None:
            loaded.clear()  # one at a time: they may be large
            data = loaded[stage.data.key] = stage.data.load()
        # Evenly spaced, because samples are often sorted by class.
        rows = torch.linspace(0, data.n_samples - 1, min(_SAMPLES, data.n_samples)).long()
        inputs, labels = data.inputs[rows].cpu(), data.labels[rows].cpu()
        try:
            network = first_network(stage.section, Signature.of(data), seed=stage.seed, role=stage.role)
            network = network.to(dtype=inputs.dtype)
            for layer, key in sorted(layers, key=str):
                features_of(network, inputs[:1], layer=layer, key=key)
            if stage.section.model.is_own:
                try_out(network, inputs, labels, trains=trains)
        except PerturbLearnError as error:
            raise named(stage, error) from None
