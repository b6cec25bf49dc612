"""Attacks that search for many steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

from perturblearn.attacks import Found, foolbox_attack, minimum_norm, own_attack, pgd, radial_pgd, run_attack
from perturblearn.classifiers import Classifier
from perturblearn.config import AttackConfig, FoolboxConfig, IterativeConfig, RadialPGDConfig, RestartingConfig

Report = Callable[[int, int, str], None]


def search(
    standard: Classifier,
    sources: Tensor,
    targets: Tensor,
    attack: AttackConfig,
    *,
    pixels: int | None,
    value_range: tuple[float, float],
    seed: int,
    report: Report,
) -> Found:
    """Perturbed inputs by an attack that takes many steps.

    Args:
        standard: f; sources are moved to its device and back.
        sources: u, (n, ...).
        targets: y', (n,).
        attack: which, with its norm, size and steps.
        pixels: coordinates that an L0 perturbation may change.
        value_range: least and largest value of an input.
        seed: fixes random starts.
        report: called with steps done and in all.

    Raises:
        ConfigError, ModelError: see the attacks.
    """
    run = _attack(attack, pixels, value_range, seed, report)
    found = run(standard.module, sources.to(standard.device), targets.to(standard.device))
    return Found(**{field.name: getattr(found, field.name).to(sources.device) for field in fields(found)})


def _attack(
    attack: AttackConfig, pixels: int | None, value_range: tuple[float, float], seed: int, report: Report
) -> Callable[[torch.nn.Module, Tensor, Tensor], Found]:
    shared: dict[str, Any] = {"norm": attack.norm, "epsilon": attack.epsilon, "value_range": value_range}
    if not isinstance(attack, IterativeConfig):
        if isinstance(attack, FoolboxConfig):
            adapter = foolbox_attack(attack.name.removeprefix("foolbox:"), steps=attack.steps, **shared)
        else:
            adapter = own_attack(attack.name)
        return partial(run_attack, adapter, **shared, seed=seed, report=report)
    shared |= {"steps": attack.steps, "step": attack.step, "bfloat16": attack.is_bfloat16, "report": report}
    if not isinstance(attack, RestartingConfig):
        return partial(minimum_norm, **shared)
    starts = {"seed": seed, "random_start": attack.random_start, "restarts": attack.restarts}
    if isinstance(attack, RadialPGDConfig):
        return partial(radial_pgd, **shared, **starts, pixels=pixels)
    return partial(pgd, **shared, **starts)
