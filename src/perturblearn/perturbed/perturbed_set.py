"""Perturbed inputs with their target labels, and their way to disk and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any

from torch import Tensor

from perturblearn.store import Artefact


@dataclass(frozen=True, eq=False)
class PerturbedSet:
    """What the perturbation classifier is trained on.

    Args:
        inputs: x', (n, ...).
        target_labels: y', (n,) int64: the only labels that the perturbation classifier sees.
        true_labels: labels of the data inputs behind the sources, (n,); None for noise.
        source_index: position of each source in its part of the data, (n,) int64.
        success: whether the standard classifier gives x' its target label, (n,) bool. Nothing is filtered by it.
        redirected: whether the target differs from the true label (noise: from the standard classifier's label of the
            source), (n,) bool; the attack's success is counted over these.
        source: natural, none, uniform or gauss.
        norm: l0, l2 or linf.
        epsilon: size of the perturbations.
        classifier_hash: hash of the standard classifier.
        zero_gradients: samples whose gradient was 0 and that are not perturbed.
        sizes: norms of the perturbations, (n,), as measured by an attack that searches; None for one whose
            perturbations have size epsilon by construction.
        sources: u, (n, ...), shared with the data where they are natural; None for a set that was written without them.
        coefficients, basis: C (n, q) and Q (q, d) with orthonormal rows where the inputs, flattened, are C Q by
            construction; None for a set that has no such factors or was written without them.
    """

    inputs: Tensor
    target_labels: Tensor
    true_labels: Tensor | None
    source_index: Tensor
    success: Tensor
    redirected: Tensor
    source: str
    norm: str
    epsilon: float
    classifier_hash: str
    zero_gradients: int
    sizes: Tensor | None = None
    sources: Tensor | None = None
    coefficients: Tensor | None = None
    basis: Tensor | None = None

    def __post_init__(self) -> None:
        columns = (self.target_labels, self.source_index, self.success, self.redirected, self.true_labels, self.sizes)
        for column in (column for column in columns if column is not None):
            if column.shape != self.inputs.shape[:1]:
                raise ValueError(
                    f"a column of shape {tuple(column.shape)} does not fit {len(self.inputs)} perturbed inputs"
                )

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def success_rate(self) -> float | None:
        """Share of the redirected samples that the standard classifier gives their target; None without any."""
        count = int(self.redirected.sum())
        return int((self.success & self.redirected).sum()) / count if count else None

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """C and Q of inputs that are C Q by construction."""
        return None if self.coefficients is None or self.basis is None else (self.coefficients, self.basis)

    @property
    def perturbations(self) -> Tensor:
        """R = x' - u, (n, ...)."""
        return self.perturbations_of(slice(None))

    def perturbations_of(self, rows: slice) -> Tensor:
        """R = x' - u of some samples."""
        assert self.sources is not None, "a set read from disk does not know its sources"
        return self.inputs[rows] if self.source == "none" else self.inputs[rows] - self.sources[rows]

    def to(self, device: str) -> PerturbedSet:
        """The same set on another device."""
        moved = {
            field.name: value.to(device)
            for field in dataclass_fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def dump(self) -> Artefact:
        """The set as an artefact; natural sources are named by their index, noise cannot be told from x' afterwards."""
        tensors = {
            "inputs": self.inputs,
            "target_labels": self.target_labels,
            "source_index": self.source_index,
            "success": self.success,
            "redirected": self.redirected,
        }
        if self.true_labels is not None:
            tensors["true_labels"] = self.true_labels
        if self.sizes is not None:
            tensors["sizes"] = self.sizes
        content: dict[str, Any] = {
            "source": self.source,
            "norm": self.norm,
            "epsilon": self.epsilon,
            "classifier_hash": self.classifier_hash,
            "zero_gradients": self.zero_gradients,
        }
        return Artefact(content, tensors)

    def dump_with_sources(self) -> Artefact:
        """The set as an artefact from which controls can start: nothing is drawn or searched again."""
        artefact = self.dump()
        sources = {} if self.sources is None else {"sources": self.sources}
        return Artefact(artefact.content, {**artefact.tensors, **sources})

    @classmethod
    def load(cls, artefact: Artefact) -> PerturbedSet:
        """The set that `dump` or `dump_with_sources` wrote, with its sources only from the latter."""
        fields: dict[str, Any] = {"true_labels": None, **artefact.tensors, **artefact.content}
        return cls(**fields)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.inputs.shape[1:]))
        rate = self.success_rate
        success = "no target differs from its label" if rate is None else f"success {rate:.3f}"
        return (
            f"PerturbedSet({len(self)} inputs of {shape}, source {self.source}, {self.norm} epsilon {self.epsilon:g}, "
            f"{success}, classifier {self.classifier_hash[:10]})"
        )
