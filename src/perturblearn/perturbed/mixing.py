"""Clean samples among perturbed ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from perturblearn.data import Dataset
from perturblearn.errors import DataError
from perturblearn.perturbed.perturbed_set import PerturbedSet


def mix(perturbed: PerturbedSet, data: Dataset, share: float, *, seed: int, heldout: bool = False) -> PerturbedSet:
    """Replace a part of a perturbed set by clean samples under their true labels.

    The set keeps its size. Which samples stay perturbed is one order drawn from the seed, so those of a smaller share
    are among those of a larger one, and what becomes clean becomes the same sample at every share.

    Args:
        perturbed: a set whose sources are natural or noise.
        data: what it was made from, in its precision.
        share: share of its samples that stay perturbed, in [0, 1]; the number is rounded.
        seed: fixes the draws, on the CPU.
        heldout: the set was made from the held-out part of the data.

    Returns:
        The set itself if all samples stay perturbed. Otherwise one with ``clean`` set: such a sample is its own source
        where that is natural, or, in place of noise, a sample of the data drawn without replacement, which
        ``source_index`` names. It is neither redirected nor a success, its size is 0, and it counts as kept. The
        ``true_labels`` of noise stay None, and ``zero_gradients`` is that of the set as it was perturbed. Factors are
        gone.

    Raises:
        DataError: more clean samples are wanted in place of noise than the data have.
    """
    assert 0 <= share <= 1
    assert not perturbed.is_bare, "the configuration refuses bare perturbations among whole inputs"
    kept = round(share * len(perturbed))
    if kept == len(perturbed):
        return perturbed
    inputs, labels = (data.heldout_inputs, data.heldout_labels) if heldout else (data.inputs, data.labels)
    generator = torch.Generator().manual_seed(seed)
    # From the end of the order: at a smaller share more rows follow, and the first stay as they are.
    rows = torch.randperm(len(perturbed), generator=generator)[kept:].flip(0)
    if perturbed.true_labels is not None:
        chosen = perturbed.source_index.cpu()[rows]
    elif len(rows) > len(inputs):
        raise DataError(
            f"mixing.perturbed_share = {share:g} of {len(perturbed)} noise sources asks for {len(rows)} clean samples, "
            f"but the data have {len(inputs)}; raise it, or lower attack.n_sources"
        )
    else:
        chosen = torch.randperm(len(inputs), generator=generator)[: len(rows)]
    clean = inputs[chosen.to(inputs.device)]
    false = torch.zeros_like(rows, dtype=torch.bool)
    sources = perturbed.sources
    if sources is not None and perturbed.true_labels is None:
        sources = _with(sources, rows, clean)
    return replace(
        perturbed,
        inputs=_with(perturbed.inputs, rows, clean),
        target_labels=_with(perturbed.target_labels, rows, labels[chosen.to(labels.device)]),
        source_index=_with(perturbed.source_index, rows, chosen),
        success=_with(perturbed.success, rows, false),
        redirected=_with(perturbed.redirected, rows, false),
        sizes=None if perturbed.sizes is None else _with(perturbed.sizes, rows, torch.zeros(len(rows))),
        kept=None if perturbed.kept is None else _with(perturbed.kept, rows, torch.ones(len(rows))),
        sources=sources,
        clean=_with(torch.zeros_like(perturbed.redirected), rows, ~false),
        coefficients=None,
        basis=None,
    )


def _with(column: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """The column with other values in some rows; the set that it belongs to keeps its own."""
    return column.index_copy(0, rows.to(column.device), values.to(column))
