"""From a standard classifier to the set that the perturbation classifier sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from perturblearn.attacks import Attack, AttackContext, Others, away_loss, make_attack
from perturblearn.classifiers import Classifier, is_target, predicted_labels
from perturblearn.config import AttackConfig, BandName, PGDConfig, RestartingConfig
from perturblearn.data import Dataset, make_band
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.perturbed.shards import blocks_in, set_size
from perturblearn.perturbed.sources import Sources, draw_sources
from perturblearn.perturbed.targets import draw_targets
from perturblearn.seeding import PublishedSources, PublishedTargets, derive_seed
from perturblearn.store import Drafts

Report = Callable[[int, int, str], None]


def perturb(
    standard: Classifier,
    data: Dataset,
    attack: AttackConfig,
    *,
    seed: int,
    others: Sequence[Classifier] = (),
    generation: int = 1,
    heldout: bool = False,
    rows: range | None = None,
    published_sources: PublishedSources | None = None,
    published_targets: PublishedTargets | None = None,
    drafts: Drafts | None = None,
    report: Report = lambda done, steps, note: None,
) -> PerturbedSet:
    """Perturb sources towards target labels [NeurIPS24, section 3; ICLR24, section 3].

    The set is made block by block (see `blocks_in`), so a part of it has the same bits as it has in the whole.

    Args:
        standard: f, in the precision of the data.
        data: where natural sources, true labels and the value range come from.
        attack: source, targets, norm and size.
        seed: the run's seed; sources and targets of both parts of the data have generators of their own.
        others: the networks that an attack with ``keep_others`` is to leave at the true labels, on the device of f.
        generation: 1 for a set that f is attacked for. Later ones have the same sources and targets of their own, which
            the network that is attacked in the place of f has not been told.
        heldout: perturb the held-out part (fresh noise, fresh targets) instead of the training part.
        rows: which samples of the set, from the first of a block on; None for all.
        published_sources, published_targets: where a published script draws noise sources and targets; None for our
            own draws.
        drafts: keeps the blocks that an attack that searches has finished, for when it is interrupted.
        report: called with gradient steps done and in all, by an attack that takes many.

    Raises:
        ConfigError: more L0 pixels than coordinates, or uniform noise over data without bounds.
        DataError: targets that the rule needs are missing or do not fit the number of sources.
        ModelError: the network or the attack does not do what is asked of it.
    """
    assert len(others) == attack.n_others, f"{len(others)} other networks instead of {attack.n_others}"
    if rows is None:
        rows = range(set_size(attack, data.n_samples, data.n_heldout, heldout=heldout))
    sources = sources_of(data, attack, seed=seed, heldout=heldout, rows=rows, published=published_sources)
    taught = None
    if attack.asks_f:
        found = standard.outputs(sources.points)
        targets = predicted_labels(found)
        if attack.is_soft:
            taught = standard.auxiliary_outputs(sources.points) if attack.teaches_auxiliary else found
    else:
        of_targets = seed if generation == 1 else derive_seed(seed, "generation", str(generation))
        targets = targets_of(data, attack, seed=of_targets, heldout=heldout, rows=rows, published=published_targets)
    named = attack.band if isinstance(attack, PGDConfig) else None
    band = None if named is None else make_band(BandName.parse(named), data)
    search = make_attack(attack, data.input_dim, band=band).for_network(standard.module)
    part = "heldout" if heldout else "training"
    work = _Work(standard, data, attack, search, tuple(others), seed, part, drafts or Drafts(), report)
    made = PerturbedSet.joined(work.blocks(rows, sources, targets), len(rows))
    return replace(made, sources=sources.inputs, outputs=taught, is_auxiliary=attack.teaches_auxiliary)


def sources_of(
    data: Dataset,
    attack: AttackConfig,
    *,
    seed: int,
    heldout: bool = False,
    rows: range | None = None,
    published: PublishedSources | None = None,
) -> Sources:
    """The sources u of a perturbed set, or of some of its samples; see `perturb`."""
    return draw_sources(
        attack,
        data,
        heldout=heldout,
        count=set_size(attack, data.n_samples, data.n_heldout, heldout=heldout),
        seed=derive_seed(seed, "sources", "heldout" if heldout else "training") if published is None else seed,
        rows=rows,
        published=published,
    )


def targets_of(
    data: Dataset,
    attack: AttackConfig,
    *,
    seed: int,
    heldout: bool = False,
    rows: range | None = None,
    published: PublishedTargets | None = None,
) -> Tensor:
    """The target labels y' of a perturbed set whose rule knows no f, or of some of its samples; see `perturb`."""
    count = set_size(attack, data.n_samples, data.n_heldout, heldout=heldout)
    if published is not None:
        targets = published.labels(count, seed=seed).to(data.inputs.device)
        return targets if rows is None else targets[rows.start : rows.stop]
    labels = None
    if attack.has_labels:
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
    config: AttackConfig
    attack: Attack
    others: tuple[Classifier, ...]
    seed: int
    part: str
    drafts: Drafts
    report: Report

    def blocks(self, rows: range, sources: Sources, targets: Tensor) -> Iterator[PerturbedSet]:
        """The blocks of the set one after the other; those of a search are kept until the set is whole."""
        blocks = blocks_in(rows, self.data.input_dim)
        # A step takes no longer than reading it back, and its factors would not come back.
        is_kept = self.attack.is_search and len(blocks) > 1
        for number, block in enumerate(blocks):
            inside = slice(block.start - rows.start, block.stop - rows.start)

            def tell(done: int, steps: int, note: str, number: int = number) -> None:
                self.report(number * steps + done, len(blocks) * steps, f"part {number + 1}/{len(blocks)}, {note}")

            name = f"from {block.start}"
            kept = self.drafts.read(name) if is_kept else None
            made = PerturbedSet.load(kept) if kept else self.made(sources.part(inside), targets[inside], block, tell)
            if is_kept and kept is None:
                self.drafts.write(name, made.dump())
            yield made.to(str(sources.inputs.device))

    def made(self, sources: Sources, targets: Tensor, block: range, report: Report) -> PerturbedSet:
        """One block."""
        # Of its own for every block, so that the starts in it depend on its place in the set and on nothing else.
        seed = derive_seed(derive_seed(self.seed, "search", self.part), "part", str(block.start))
        module, device = self.standard.module, self.standard.device
        originals = None if sources.originals is None else sources.originals.to(device)
        is_away = isinstance(self.config, RestartingConfig) and self.config.away
        loss = away_loss if is_away else None
        others = None
        if self.others:
            assert sources.labels is not None, "the configuration refuses sources without labels"
            labels = None if self.config.keeps_odds else sources.labels.to(device)
            others = Others(tuple(other.module for other in self.others), labels)
        context = AttackContext(
            value_range=self.data.value_range,
            seed=seed,
            loss=loss,
            report=report,
            originals=originals,
            others=others,
        )
        given = sources.points.to(device), targets.to(device)
        attacked = self.attack.search(module, *given, context)
        unmoved = self.attack.count_zero_gradients(module, *given, attacked)
        result = attacked.to(sources.inputs.device)
        if sources.labels is None:
            redirected = ~is_target(self.standard.outputs(sources.inputs), targets)
        else:
            redirected = sources.labels != targets
        return PerturbedSet(
            inputs=result.inputs,
            target_labels=targets,
            true_labels=sources.labels,
            source_index=sources.index,
            success=result.success,
            redirected=redirected,
            source=self.config.source,
            norm=self.config.norm,
            epsilon=self.config.epsilon,
            classifier_hash=self.standard.hash,
            # At epsilon 0 nothing moves, whatever the gradient.
            zero_gradients=unmoved if self.config.epsilon != 0 else 0,
            sizes=result.sizes if self.attack.is_search else None,
            kept=self._kept(result.inputs, sources.labels),
            coefficients=result.coefficients,
            basis=result.basis,
        )

    def _kept(self, inputs: Tensor, labels: Tensor | None) -> Tensor | None:
        """The share of the other networks that give each input its label, (n,); None without any."""
        if not self.others or labels is None:
            return None
        return torch.stack([is_target(other.outputs(inputs), labels) for other in self.others]).float().mean(dim=0)
