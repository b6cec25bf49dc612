"""Where g's knowledge comes from: its training followed once more, and its class signal split into parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from perturblearn.classifiers import Classifier, is_target
from perturblearn.config import ClassifierConfig, DescentConfig, SGDConfig
from perturblearn.data import Dataset, Signature
from perturblearn.experiment.learn import TrainingSpec, full_batch_descent, learn
from perturblearn.experiment.measured import AttributionMeasures
from perturblearn.experiment.networks import first_network, learn_network, minibatch_descent
from perturblearn.perturbed import PerturbedSet
from perturblearn.seeding import PublishedStart, derive_seed
from perturblearn.store import Artefact, Drafts
from perturblearn.training import PathAttribution, Resumption, attribute_training

Report = Callable[[int, int, str], None]
_ROLE = "perturbation"
_BATCH, _MOST_MERGED = 2048, 8
"""Samples of the steps that are split as one, so that its cost stays in proportion to that of training; and how many
steps that are at most, as a chord departs from its path."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the parts of g's training have taught it about some held-out inputs.

    Args:
        numbers: by measure, see `MEASURES`.
        classes: class signals class by class.
        rows: positions of the inputs among the held-out ones, (M,).
        signals: by part, the class signal of each input, (M,).
        is_right: whether g gets each input right, (M,) bool.
        is_right_without: whether it would without the perturbation's part, (M,) bool.
    """

    numbers: Mapping[str, float]
    classes: AttributionMeasures
    rows: Int[Tensor, "m"]
    signals: Mapping[str, Float[Tensor, "m"]]
    is_right: Tensor
    is_right_without: Tensor

    def dump(self) -> Artefact:
        """The attribution as an artefact."""
        signals = {f"signal.{part}": values for part, values in self.signals.items()}
        tensors = {"rows": self.rows, "is_right": self.is_right, "is_right_without": self.is_right_without}
        return Artefact({"numbers": dict(self.numbers), "classes": self.classes.to_dict()}, {**signals, **tensors})

    @staticmethod
    def load(artefact: Artefact) -> Attribution:
        """What `dump` wrote."""
        tensors, content = artefact.tensors, artefact.content
        signals = {
            name.removeprefix("signal."): values for name, values in tensors.items() if name.startswith("signal.")
        }
        return Attribution(
            content["numbers"],
            AttributionMeasures.from_dict(content["classes"]),
            tensors["rows"],
            signals,
            tensors["is_right"],
            tensors["is_right_without"],
        )


def attribute(
    data: Dataset,
    perturbed: PerturbedSet,
    section: ClassifierConfig,
    *,
    seed: int,
    n_inputs: int,
    merged: int | None,
    tolerance: float,
    device: str,
    start: PublishedStart | None = None,
    report: Report = lambda done, steps, note: None,
) -> Attribution:
    """Split what g knows of held-out inputs into what taught it; see `attribute_training`.

    Args:
        data: with its true labels.
        perturbed: the set that g was trained on, with its sources.
        section: how g was trained, with one learning rate.
        seed: the run's seed.
        n_inputs: held-out inputs to look at, drawn at random if there are more.
        merged: steps that are split as one; None for those of 2,048 samples.
        tolerance: completeness error to stay below.
        device: where to train.
        start: where a published script draws g's first weights; None for our own draws.
        report: called with steps done and in all.
    """
    count = len(data.heldout_inputs)
    rows = torch.arange(count)
    if count > n_inputs:
        generator = torch.Generator().manual_seed(derive_seed(seed, "attribution"))
        rows = torch.randperm(count, generator=generator)[:n_inputs].sort().values
    inputs, labels = (part[rows.to(part.device)] for part in (data.heldout_inputs, data.heldout_labels))
    sources = torch.zeros_like(perturbed.inputs) if perturbed.is_bare else perturbed.sources
    assert sources is not None, "a stage has a set with its sources"
    spec = TrainingSpec(section, perturbed.target_labels, seed, _ROLE, start)
    path = _follow(spec, data, perturbed.inputs, sources, inputs, merged, tolerance, device, report)
    outputs = {"start": path.start, **path.parts, "total": path.final}
    signals = {part: class_signal(values.cpu(), labels.cpu()) for part, values in outputs.items()}
    means = {f"attribution_{part}": float(signal.mean()) for part, signal in signals.items()}
    total = means["attribution_total"]
    sizes = sum(abs(value) for name, value in means.items() if name != "attribution_total")
    said = {part: is_target(outputs[part].cpu(), labels.cpu()) for part in ("perturbation", "source")}
    right = is_target(path.final.cpu(), labels.cpu())
    without = is_target((path.final - path.parts["perturbation"]).cpu(), labels.cpu())
    numbers = {
        **means,
        **{f"attribution_{part}_accuracy": float(is_right.double().mean()) for part, is_right in said.items()},
        "attribution_needs_perturbation": float((right & ~without).double().mean()),
        "attribution_error": path.error,
    }
    if total:
        numbers["attribution_cancellation"] = sizes / abs(total)
    if not perturbed.is_bare:  # of nothing, there is nothing to learn
        control = _train_on(sources, spec, data, device)
        numbers["attribution_unperturbed"] = float(class_signal(control.outputs(inputs).cpu(), labels.cpu()).mean())
    return Attribution(numbers, _by_class(data, labels.cpu(), signals), rows, signals, right, without)


def steps_merged(section: ClassifierConfig) -> int:
    """How many steps are split as one where nothing else is asked for."""
    return min(_MOST_MERGED, max(1, _BATCH // section.batch_size)) if isinstance(section, SGDConfig) else 1


def class_signal(outputs: Float[Tensor, "m *k"], labels: Int[Tensor, "m"]) -> Float[Tensor, "m"]:
    """Output of each input's true class minus the mean of the others, each output centred over the inputs.

    Args:
        outputs: f(x), (M,), with labels +1 and -1, or logits (M, K) with labels 0 .. K-1.
        labels: the true ones.

    Returns:
        (M,) float64; linear in the outputs.
    """
    centred = outputs.double() - outputs.double().mean(dim=0)
    if outputs.ndim == 1:
        return labels * centred
    own = centred.gather(1, labels[:, None])[:, 0]
    return own - (centred.sum(dim=1) - own) / (outputs.shape[1] - 1)


def _follow(
    spec: TrainingSpec,
    data: Dataset,
    inputs: Tensor,
    sources: Tensor,
    heldout: Tensor,
    merged: int | None,
    tolerance: float,
    device: str,
    report: Report,
) -> PathAttribution:
    section = spec.config
    if isinstance(section, SGDConfig):
        network = first_network(section, Signature.of(data), seed=spec.seed, role=_ROLE)
        network, descent = network.to(device=device, dtype=inputs.dtype), minibatch_descent(section)
    else:
        assert isinstance(section, DescentConfig), "the configuration refuses all others"
        network, descent = spec.first_network(inputs), full_batch_descent(section, section.epochs)
    return attribute_training(
        descent,
        network,
        inputs,
        sources,
        spec.labels,
        heldout,
        seed=spec.minibatch_seed,
        device=device,
        merged=steps_merged(section) if merged is None else merged,
        tolerance=tolerance,
        report=report,
    )


def _train_on(inputs: Tensor, spec: TrainingSpec, data: Dataset, device: str) -> Classifier:
    """A network that starts and trains as g does, on other inputs."""

    def silent(done: int, steps: int, note: str) -> None:
        pass

    if isinstance(spec.config, DescentConfig):
        return learn(spec, inputs.to(device), report=silent)
    return learn_network(
        spec, Signature.of(data), inputs, device=device, resumption=Resumption(Drafts()), report=silent
    )


def _by_class(data: Dataset, labels: Tensor, signals: Mapping[str, Tensor]) -> AttributionMeasures:
    members = [labels == label for label in data.label_values]
    return AttributionMeasures(
        tuple(data.class_names),
        {
            part: tuple(float(signal[rows].mean()) if bool(rows.any()) else None for rows in members)
            for part, signal in signals.items()
        },
    )
