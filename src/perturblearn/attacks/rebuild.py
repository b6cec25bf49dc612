"""Inputs rebuilt from a network's features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import check_sources, row_norms
from perturblearn.attacks.context import AttackContext, Iterate
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.norms import normalised
from perturblearn.attacks.objective import check_numbers, check_targets, name_of_network, outputs_of
from perturblearn.attacks.slices import pass_slices
from perturblearn.classifiers import Features, features_of, is_target
from perturblearn.errors import ModelError


@dataclass(frozen=True)
class Rebuild(Attack):
    r"""Move each source until f has the same features of it as of an original [Ilyas19, section 3.1 and appendix C].

    With features h (`features_of`), the source is moved by normalised gradient descent on the distance,
    :math:`x \leftarrow x - s\, \nabla / \lVert \nabla \rVert_2` with
    :math:`\nabla = \nabla_x \lVert h(x) - h(x_{original}) \rVert_2^2`, and clipped into the range after every step. Per
    sample the iterate with the least distance is kept, the source included. No ball bounds the change. The targets are
    the originals' labels; they play no part but in the result's ``success``.

    Args:
        norm: L2, in which a step has its length and the result its sizes.
        epsilon: infinite.
        steps: gradient steps; 1,000 in Ilyas19.
        step: length of a step in L2; 0.1 in Ilyas19, for images between 0 and 1.
        layer: name of the layer whose output the features are; see `features_of`.
    """

    steps: int
    step: float
    layer: str | None = None

    @property
    def n_steps(self) -> int:
        """Gradient steps."""
        return self.steps

    def search(self, module: nn.Module, sources: Tensor, targets: Tensor, context: AttackContext) -> AttackResult:
        """The sources rebuilt; see `Attack.search`.

        Its context names the originals, (n, ...). The result's losses are the L2 distances of the features.

        Raises:
            ModelError: f has no such features, or they do not depend on the inputs; or as in `Attack.search`.
        """
        assert context.originals is not None, "a rebuilding attack is told what to rebuild"
        check_sources(sources, targets, context.value_range)
        results: list[AttackResult] = []
        with frozen(module, context.seed):
            features = features_of(module, sources[:1], layer=self.layer) if len(sources) else None
            slices = list(pass_slices(sources, context.block))
            for number, part in enumerate(slices):
                assert features is not None
                search = _Search(self, features, part.start, number, len(slices), context)
                results.append(search.result(sources[part].detach(), context.originals[part], targets[part]))
        return AttackResult.joined(results, sources)

    def count_zero_gradients(self, module: nn.Module, sources: Tensor, targets: Tensor, result: AttackResult) -> int:
        """How many sources no step brought nearer to their original."""
        return int((result.sizes == 0).sum())


@dataclass(frozen=True, eq=False)
class _Search:
    """The search for some of the samples."""

    attack: Rebuild
    features: Features
    first: int
    number: int
    of: int
    context: AttackContext

    def result(self, sources: Tensor, originals: Tensor, targets: Tensor) -> AttackResult:
        shape, steps, name = sources.shape, self.attack.steps, name_of_network(self.features.module)
        low, high = self.context.value_range
        with torch.no_grad():
            wanted = self.features(originals.to(sources.device).clone())[0].detach()
        start = sources.flatten(1).clamp(low, high)
        points, best, least = start, start.clone(), torch.full_like(start[:, 0], torch.inf)
        for step in range(steps + 1):
            leaf = points.detach().requires_grad_(step < steps)
            with torch.set_grad_enabled(step < steps):
                distances = (self.features(leaf.view(shape).clone())[0] - wanted).square().sum(dim=1)
            nearer = distances.detach() < least
            best[nearer], least[nearer] = points[nearer], distances.detach()[nearer]
            self._see(step, points, distances)
            if step < steps:
                if not distances.requires_grad:
                    raise ModelError(
                        f"the features of {name} at the layer {self.features.name} have no gradient in its inputs; "
                        "name another layer with attack.layer, or compute them with torch operations, without detaching"
                    )
                # Samples do not depend on each other in evaluation mode, so the sum's gradient is each sample's own.
                (gradient,) = torch.autograd.grad(distances.sum(), leaf)
                points = normalised(gradient, 2.0).mul_(-self.attack.step).add_(points).clamp_(low, high)
        with torch.no_grad():
            outputs = outputs_of(self.features(best.view(shape).clone())[1], len(best), name)
        check_numbers(outputs, name)
        check_targets(outputs, targets, name)
        sizes = row_norms(best.double() - start.double(), 2.0)[:, 0].to(best.dtype)
        return AttackResult(best.view(shape), outputs, least.sqrt(), is_target(outputs, targets), sizes)

    def _see(self, step: int, points: Tensor, distances: Tensor) -> None:
        """Tell an observer of an iterate, and whoever waits of the progress."""
        context, steps = self.context, self.attack.steps
        if context.callback is not None:
            rows = torch.arange(self.first, self.first + len(points), device=points.device)
            shape = (len(points), *self.context.originals.shape[1:])  # pyright: ignore[reportOptionalMemberAccess]
            context.callback(Iterate(0, step, rows, points.view(shape), distances.detach().sqrt()))
        if step:
            context.report(self.number * steps + step, self.of * steps, f"rebuilding step {step}/{steps}")
