"""What a user hands over as objects: data, networks and an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perturblearn.attacks import hand_over_attack
from perturblearn.classifiers import forget_calls, hand_over
from perturblearn.config import JSON, Keys
from perturblearn.data import Dataset, dataset_from


@dataclass(frozen=True, kw_only=True)
class UserObjects:
    """Data, networks and an attack in place of those that the configuration names; each may also be a name.

    Args:
        data: a `Dataset`, a pair (inputs, labels), a torch data set or a name.
        standard: f's network, a ``torch.nn.Module`` or a function that makes one.
        perturbation: g's network, likewise.
        attack: a function ``attack(model, inputs, targets) -> perturbed``.
    """

    data: Any = None
    standard: Any = None
    perturbation: Any = None
    attack: Any = None

    def register(self, overrides: Keys | None) -> tuple[dict[str, JSON], Dataset | None]:
        """Register the objects under names that a configuration can hold.

        Args:
            overrides: keys of the configuration by dotted name.

        Returns:
            These keys and those that name the objects; the data, if they are an object.

        Raises:
            DataError, ModelError: an object cannot be used.
        """
        forget_calls()
        keys = dict(overrides or {})
        dataset: Dataset | None = None
        if isinstance(self.data, str):
            keys["data.name"] = self.data
        elif self.data is not None:
            dataset = dataset_from(self.data)
            keys["data.name"] = "python"
        for role, network in (("standard", self.standard), ("perturbation", self.perturbation)):
            if network is not None:
                keys[f"{role}.model.name"] = network if isinstance(network, str) else hand_over(network)
        if self.attack is not None:
            keys["attack.name"] = hand_over_attack(self.attack)
        return keys, dataset
