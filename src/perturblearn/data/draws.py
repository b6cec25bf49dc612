"""Seeded draws of samples, stratified by class."""

from __future__ import annotations

import torch
from torch import Tensor

from perturblearn.seeding import derive_seed


def generator_for(seed: int, *purpose: str) -> torch.Generator:
    """A CPU generator for one kind of draw: equal arguments give equal draws."""
    return torch.Generator().manual_seed(derive_seed(seed, "data", *purpose))


def stratified_counts(counts: list[int], total: int) -> list[int]:
    """How many samples of each class make up ``total``, in proportion to ``counts``.

    The largest-remainder method, but with at least one sample of every class that occurs and never more than there are.

    Args:
        counts: samples of each class, 0 or more.
        total: between the number of classes that occur and the sum of counts.

    Returns:
        One number per class; they sum to total.
    """
    everything = sum(counts)
    quotas = [total * count / everything for count in counts]
    taken = [min(count, max(1, int(quota))) for count, quota in zip(counts, quotas, strict=True)]
    while sum(taken) < total:
        room = [k for k in range(len(counts)) if taken[k] < counts[k]]
        # -k: ties go to earlier classes.
        taken[max(room, key=lambda k: (quotas[k] - taken[k], -k))] += 1
    while sum(taken) > total:
        # Quotas are rounded down, so only the guaranteed single samples can have made the sum too large.
        spare = [k for k in range(len(counts)) if taken[k] > 1]
        taken[max(spare, key=lambda k: (taken[k] - quotas[k], -k))] -= 1
    return taken


def stratified_draw(labels: Tensor, per_class: list[int], generator: torch.Generator) -> Tensor:
    """Indices of randomly drawn samples, ``per_class[k]`` of class k, in ascending order.

    Args:
        labels: (N,) class indices.
        per_class: samples to draw of each class, at most as many as there are.
        generator: a CPU generator.

    Returns:
        (sum of per_class,) int64 indices.
    """
    drawn = []
    for index, number in enumerate(per_class):
        members = torch.nonzero(labels == index).flatten()
        drawn.append(members[torch.randperm(len(members), generator=generator)[:number]])
    return torch.cat(drawn).sort().values
