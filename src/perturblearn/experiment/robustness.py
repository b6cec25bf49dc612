"""How much of clean held-out data a classifier still recognises when an attack moves each input away from its label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from perturblearn.attacks import PGD, Attack, AttackContext
from perturblearn.classifiers import Classifier, is_target
from perturblearn.seeding import derive_seed

Report = Callable[[int, int, str], None]


def error_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """What an untargeted search minimises: its gradient is that of minus the cross-entropy, its value the margin.

    The search climbs the loss of the true label, as Madry et al. (ICLR 2018) do. Of its iterates it keeps the one with
    the least margin, so that it finds an error wherever one of them is one: with several classes the iterate of largest
    cross-entropy may be right while another is wrong.

    Args:
        outputs: f(x), (n,), or logits (n, K).
        labels: the true ones, (n,): +1 and -1, or 0 .. K-1.

    Returns:
        (n,): y f(x), or the true logit minus the largest other one; negative where the label is wrong.
    """
    if outputs.ndim == 1:
        return labels * outputs
    falls = -cross_entropy(outputs, labels, reduction="none")
    own = outputs.gather(1, labels[:, None])
    margins = own - outputs.scatter(1, labels[:, None], -torch.inf).amax(dim=1, keepdim=True)
    return falls + (margins[:, 0] - falls).detach()


def robust_accuracy(
    classifier: Classifier,
    inputs: Tensor,
    labels: Tensor,
    attack: Attack,
    *,
    value_range: tuple[float, float],
    seed: int,
    report: Report = lambda done, steps, note: None,
) -> float:
    """Share of inputs whose label no search changes.

    Args:
        classifier: f or g, which is right about an input if its predicted label is the true one.
        inputs: clean ones, (n, ...).
        labels: their true labels, (n,).
        attack: the search; each restart of `PGD` looks at the inputs alone that all before have left right, so that
            more restarts find more errors or as many.
        value_range: least and largest value of an input.
        seed: of random starts.
        report: called with gradient steps done and in all.
    """
    right = is_target(classifier.outputs(inputs), labels)
    searches = [replace(attack, restarts=1)] * attack.restarts if isinstance(attack, PGD) else [attack]
    for number, search in enumerate(searches):
        rows = right.nonzero()[:, 0]

        def tell(done: int, steps: int, note: str, number: int = number) -> None:
            report(number * steps + done, len(searches) * steps, note)

        context = AttackContext(value_range, derive_seed(seed, "robust accuracy", str(number)), error_loss, report=tell)
        sources, truths = (values[rows].to(classifier.device) for values in (inputs, labels))
        found = search.search(classifier.module, sources, truths, context)
        right[rows] = is_target(found.outputs, truths).to(right.device)
    return right.double().mean().item()
