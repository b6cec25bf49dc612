"""From a standard classifier to the set that the perturbation classifier sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from perturblearn.attacks import gate_basis, geometry_inspired, input_gradient, one_step, one_step_factors
from perturblearn.classifiers import Classifier, TwoLayer, is_target
from perturblearn.config import AttackConfig, GeometryConfig
from perturblearn.data import Dataset
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.perturbed.search import search
from perturblearn.perturbed.shards import blocks_in, set_size
from perturblearn.perturbed.sources import Sources, draw_sources
from perturblearn.perturbed.targets import draw_targets
from perturblearn.seeding import derive_seed
from perturblearn.store import Drafts

Report = Callable[[int, int, str], None]


def perturb(
    standard: Classifier,
    data: Dataset,
    attack: AttackConfig,
    *,
    seed: int,
    heldout: bool = False,
    rows: range | None = None,
    drafts: Drafts | None = None,
    report: Report = lambda done, steps, note: None,
) -> PerturbedSet:
    """Move sources a little towards target labels [NeurIPS24, section 3; ICLR24, section 3].

    The set is made block by block (see `blocks_in`), so a part of it has the same bits as it has in the whole.

    Args:
        standard: f, in the precision of the data.
        data: where natural sources, true labels and the value range come from.
        attack: source, targets, norm and size.
        seed: the run's seed; sources and targets of both parts of the data have generators of their own.
        heldout: perturb the held-out part (fresh noise, fresh targets) instead of the training part.
        rows: which samples of the set, from the first of a block on; None for all.
        drafts: keeps the blocks that an attack that searches has finished, for when it is interrupted.
        report: called with gradient steps done and in all, by an attack that takes many.

    Raises:
        ConfigError: more L0 pixels than coordinates, or uniform noise over data without bounds.
        DataError: targets that the rule needs are missing or do not fit the number of sources.
        ModelError: the network or the attack does not do what is asked of it.
    """
    if rows is None:
        rows = range(set_size(attack, data.n_samples, data.n_heldout, heldout=heldout))
    sources = sources_of(data, attack, seed=seed, heldout=heldout, rows=rows)
    targets = targets_of(data, attack, seed=seed, heldout=heldout, rows=rows)
    work = _Work(standard, data, attack, seed, "heldout" if heldout else "training", drafts or Drafts(), report)
    made = PerturbedSet.joined(work.blocks(rows, sources, targets), len(rows))
    return replace(made, sources=sources.inputs, basis=work.basis)


def sources_of(
    data: Dataset, attack: AttackConfig, *, seed: int, heldout: bool = False, rows: range | None = None
) -> Sources:
    """The sources u of a perturbed set, or of some of its samples; see `perturb`."""
    return draw_sources(
        attack.source,
        data,
        heldout=heldout,
        count=set_size(attack, data.n_samples, data.n_heldout, heldout=heldout),
        seed=derive_seed(seed, "sources", "heldout" if heldout else "training"),
        rows=rows,
    )


def targets_of(
    data: Dataset, attack: AttackConfig, *, seed: int, heldout: bool = False, rows: range | None = None
) -> Tensor:
    """The target labels y' of a perturbed set, or of some of its samples; see `perturb`."""
    count = set_size(attack, data.n_samples, data.n_heldout, heldout=heldout)
    labels = None
    if attack.source in ("natural", "none"):
        # All targets are drawn at once: they take little room, and each depends on its place in the set alone.
        every = Sources.index_of(len(data.heldout_inputs if heldout else data.inputs), count)
        labels = (data.heldout_labels if heldout else data.labels).cpu()[every]
    targets = draw_targets(
        attack.targets,
        count,
        data.label_values,
        seed=derive_seed(seed, "targets", "heldout" if heldout else "training"),
        labels=labels,
        given=data.given_targets,
    ).to(data.inputs.device)
    return targets if rows is None else targets[rows.start : rows.stop]


@dataclass(frozen=True, eq=False)
class _Work:
    """What is the same for all blocks of a set."""

    standard: Classifier
    data: Dataset
    attack: AttackConfig
    seed: int
    part: str
    drafts: Drafts
    report: Report

    @cached_property
    def pixels(self) -> int | None:
        return self.attack.n_pixels(self.data.input_dim)

    @cached_property
    def gates(self) -> tuple[Tensor, Tensor] | None:
        """What bare steps are combinations of, where they are of low rank."""
        module = self.standard.module
        if isinstance(module, TwoLayer) and has_factors(self.attack, module.hidden_dim, module.input_dim):
            return gate_basis(module.weight.detach(), module.readout)
        return None

    @property
    def basis(self) -> Tensor | None:
        return None if self.gates is None else self.gates[1]

    def blocks(self, rows: range, sources: Sources, targets: Tensor) -> Iterator[PerturbedSet]:
        blocks = blocks_in(rows, self.data.input_dim)
        for number, block in enumerate(blocks):
            inside = slice(block.start - rows.start, block.stop - rows.start)
            part, goals = sources.part(inside), targets[inside]
            if not self.attack.is_search:
                yield self.stepped(part, goals)
                continue

            def told(done: int, steps: int, note: str, number: int = number) -> None:
                self.report(number * steps + done, len(blocks) * steps, f"part {number + 1}/{len(blocks)}, {note}")

            name = f"from {block.start}"
            kept = self.drafts.read(name) if len(blocks) > 1 else None
            found = self.searched(part, goals, block.start, told) if kept is None else PerturbedSet.load(kept)
            if kept is None and len(blocks) > 1:
                self.drafts.write(name, found.dump())
            yield found.to(str(part.inputs.device))

    def searched(self, sources: Sources, targets: Tensor, start: int, report: Report) -> PerturbedSet:
        found = search(
            self.standard,
            sources.inputs,
            targets,
            self.attack,
            pixels=self.pixels,
            value_range=self.data.value_range,
            seed=derive_seed(derive_seed(self.seed, "search", self.part), "part", str(start)),
            report=report,
        )
        # A search may also stay where it starts because no iterate is better: there the gradient itself is looked at.
        still = (found.inputs == sources.inputs).flatten(1).all(dim=1)
        unmoved = _zero_gradients(self.standard, sources.inputs[still], targets[still])
        return self.made(sources, targets, found.inputs, found.success, unmoved, sizes=found.sizes)

    def stepped(self, sources: Sources, targets: Tensor) -> PerturbedSet:
        module, attack, coefficients = self.standard.module, self.attack, None
        if isinstance(attack, GeometryConfig):
            assert isinstance(module, TwoLayer), "a limit is a two-layer network"
            weight = module.weight.detach()
            steps = geometry_inspired(
                weight[0] - weight[1], targets, norm=attack.norm, epsilon=attack.epsilon, pixels=self.pixels
            )
        elif self.gates is not None:
            assert isinstance(module, TwoLayer)
            bias = None if module.bias is None else module.bias.detach()
            coefficients = one_step_factors(
                module.weight.detach(),
                bias,
                module.slope,
                sources.points.flatten(1),
                targets,
                lower=self.gates[0],
                epsilon=attack.epsilon,
            )
            steps = coefficients @ self.gates[1]
        else:
            steps = one_step(
                module, sources.points, targets, norm=attack.norm, epsilon=attack.epsilon, pixels=self.pixels
            )
        steps = steps.view_as(sources.inputs)
        unmoved = int((steps.flatten(1) == 0).all(dim=1).sum())
        inputs = steps if attack.is_bare else steps.add_(sources.inputs)
        success = is_target(self.standard.outputs(inputs), targets)
        return self.made(sources, targets, inputs, success, unmoved, coefficients=coefficients)

    def made(
        self,
        sources: Sources,
        targets: Tensor,
        inputs: Tensor,
        success: Tensor,
        unmoved: int,
        *,
        sizes: Tensor | None = None,
        coefficients: Tensor | None = None,
    ) -> PerturbedSet:
        if sources.labels is None:
            redirected = ~is_target(self.standard.outputs(sources.inputs), targets)
        else:
            redirected = sources.labels != targets
        return PerturbedSet(
            inputs=inputs,
            target_labels=targets,
            true_labels=sources.labels,
            source_index=sources.index,
            success=success,
            redirected=redirected,
            source=self.attack.source,
            norm=self.attack.norm,
            epsilon=self.attack.epsilon,
            classifier_hash=self.standard.hash,
            zero_gradients=unmoved if self.attack.epsilon > 0 else 0,
            sizes=sizes,
            coefficients=coefficients,
        )


def has_factors(attack: AttackConfig, hidden_dim: int, input_dim: int) -> bool:
    """Whether a perturbed set comes as factors of low rank: bare one-step perturbations in L2 of a narrow network.

    Args:
        attack: how inputs are perturbed.
        hidden_dim: width m of f.
        input_dim: dimension d of the inputs; narrow is m below d.
    """
    return attack.has_known_factors and hidden_dim < input_dim


def _zero_gradients(standard: Classifier, points: Tensor, targets: Tensor) -> int:
    if len(points) == 0:
        return 0
    gradient = input_gradient(standard.module, points.to(standard.device), targets.to(standard.device))
    return int((gradient.flatten(1) == 0).all(dim=1).sum())
