"""Perturbed inputs with their target labels, and their way to disk and back."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any

from torch import Tensor

from perturblearn.config import BARE_SOURCE, REBUILT_SOURCE
from perturblearn.store import Artefact, load_from

_COLUMNS = (
    "inputs", "target_labels", "true_labels", "source_index", "success", "redirected", "sizes", "kept", "clean",
    "coefficients", "outputs",
)  # fmt: skip
"""What a set holds sample by sample, besides its sources."""


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
        source: natural, errors, noisy, another, none, uniform, gauss or data:NAME.
        norm: l0, l2 or linf.
        epsilon: size of the perturbations; None for inputs that were rebuilt, which nothing bounds.
        classifier_hash: hash of the standard classifier.
        zero_gradients: samples whose gradient was 0 and that are not perturbed.
        sizes: norms of the perturbations, (n,), as measured by an attack that searches; None for one whose
            perturbations have size epsilon by construction.
        kept: share of the networks that the attack was to leave at the true labels which give x' its true label, (n,);
            None where there are none.
        sources: u, (n, ...), shared with the data where they are natural; None for a set that was written without them.
        clean: samples that are clean inputs under their true labels, (n,) bool, after mixing; None where all are
            perturbed.
        coefficients, basis: C (n, q) and Q (q, d) with orthonormal rows where the inputs, flattened, are C Q by
            construction; None for a set that has no such factors or was written without them.
        outputs: what g learns instead of labels, (n,) or (n, q): outputs of f at the sources; None for labels.
        is_auxiliary: whether these are f's auxiliary outputs.
    """

    inputs: Tensor
    target_labels: Tensor
    true_labels: Tensor | None
    source_index: Tensor
    success: Tensor
    redirected: Tensor
    source: str
    norm: str
    epsilon: float | None
    classifier_hash: str
    zero_gradients: int
    sizes: Tensor | None = None
    kept: Tensor | None = None
    sources: Tensor | None = None
    clean: Tensor | None = None
    coefficients: Tensor | None = None
    basis: Tensor | None = None
    outputs: Tensor | None = None
    is_auxiliary: bool = False

    def __post_init__(self) -> None:
        columns = (self.target_labels, self.source_index, self.success, self.redirected)
        columns = (*columns, self.true_labels, self.sizes, self.kept, self.clean)
        for column in (column for column in columns if column is not None):
            if column.shape != self.inputs.shape[:1]:
                raise ValueError(
                    f"a column of shape {tuple(column.shape)} does not fit {len(self.inputs)} perturbed inputs"
                )

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A sample: its perturbed input, and the label that the perturbation classifier is told.

        Raises:
            IndexError: there is no such sample.
        """
        return self.inputs[index], int(self.target_labels[index])

    @property
    def success_rate(self) -> float | None:
        """Share of the redirected samples that the standard classifier gives their target; None without any."""
        count = int(self.redirected.sum())
        return int((self.success & self.redirected).sum()) / count if count else None

    @property
    def is_bare(self) -> bool:
        """Whether the inputs are perturbations alone."""
        return self.source == BARE_SOURCE

    @property
    def is_rebuilt(self) -> bool:
        """Whether the inputs are rebuilt from others, one for each sample of the data."""
        return self.source == REBUILT_SOURCE

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """C and Q of inputs that are C Q by construction."""
        return None if self.coefficients is None or self.basis is None else (self.coefficients, self.basis)

    @property
    def taught(self) -> Tensor:
        """What the perturbation classifier learns, (n, ...): target labels, or outputs of f."""
        return self.target_labels if self.outputs is None else self.outputs

    @property
    def perturbations(self) -> Tensor:
        """R = x' - u, (n, ...)."""
        return self.perturbations_of(slice(None))

    def perturbations_of(self, rows: slice) -> Tensor:
        """R = x' - u of some samples."""
        assert self.sources is not None, "a set read from disk does not know its sources"
        return self.inputs[rows] if self.is_bare else self.inputs[rows] - self.sources[rows]

    def where(self, wanted: Tensor) -> PerturbedSet:
        """Some of the samples, in their order.

        Args:
            wanted: which, (n,) bool.
        """
        columns = {name: value[wanted] for name in _COLUMNS if (value := getattr(self, name)) is not None}
        return replace(self, **columns, sources=None if self.sources is None else self.sources[wanted])

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
        optional = ("true_labels", "sizes", "kept", "clean", "outputs")
        tensors |= {name: value for name in optional if (value := getattr(self, name)) is not None}
        content: dict[str, Any] = {
            "source": self.source,
            "norm": self.norm,
            "epsilon": self.epsilon,
            "classifier_hash": self.classifier_hash,
            "zero_gradients": self.zero_gradients,
        }
        if self.is_auxiliary:
            content["is_auxiliary"] = True
        return Artefact(content, tensors)

    @classmethod
    def load(cls, source: Artefact | str | os.PathLike[str]) -> PerturbedSet:
        """The set that `dump` wrote, without its sources.

        Args:
            source: the artefact, or the path of a file with one: ``seed-0/perturbed.safetensors`` and
                ``seed-0/perturbed-heldout.safetensors`` in the folder of a run. Folders that ``perturblearn perturb``
                wrote are opened by `StoredSet`.

        Raises:
            StoreError: there is no such file, it is damaged, or it holds something else.
        """

        def of(artefact: Artefact) -> PerturbedSet:
            fields: dict[str, Any] = {"true_labels": None, **artefact.tensors, **artefact.content}
            return cls(**fields)

        return load_from(source, "perturbed set", of)

    @classmethod
    def joined(cls, parts: Iterable[PerturbedSet], count: int, *, inputs: Tensor | None = None) -> PerturbedSet:
        """Parts of one set one after the other, each of which is needed no longer than until the next.

        Args:
            parts: in their order.
            count: samples of all together.
            inputs: room for the inputs, (count, ...); None to make it.

        Returns:
            The set, without sources; with factors where all parts have the same.
        """
        # Room for all at once: many small pieces between large ones that come and go would leave holes in memory.
        columns: dict[str, Tensor] = {} if inputs is None else {"inputs": inputs}
        zero_gradients, done = 0, 0
        part: PerturbedSet | None = None
        for part in parts:
            rows = slice(done, done + len(part))
            for name in _COLUMNS:
                value = getattr(part, name)
                if value is None:
                    continue
                if name not in columns:
                    columns[name] = value.new_empty((count, *value.shape[1:]))
                columns[name][rows] = value
            zero_gradients += part.zero_gradients
            done = rows.stop
        assert part is not None, "a set has at least one sample"
        assert done == count, f"{done} samples instead of {count}"
        return replace(part, **columns, zero_gradients=zero_gradients, sources=None)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.inputs.shape[1:]))
        rate = self.success_rate
        success = "no target differs from its label" if rate is None else f"success {rate:.3f}"
        bound = "rebuilt" if self.epsilon is None else f"{self.norm} epsilon {self.epsilon:g}"
        return (
            f"PerturbedSet({len(self)} inputs of {shape}, source {self.source}, {bound}, {success}, "
            f"classifier {self.classifier_hash[:10]})"
        )
