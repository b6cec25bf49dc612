"""Stages whose results are named numbers."""

from __future__ import annotations

from collections.abc import Mapping

from perturblearn.experiment.measured import Number
from perturblearn.graph import Stored
from perturblearn.store import Artefact

Numbers = Mapping[str, Number]
"""Numbers by the name of the measure."""


class NumbersStage(Stored[Numbers]):
    """A stage whose result is named numbers."""

    @classmethod
    def dump(cls, result: Numbers) -> Artefact:
        """The numbers as an artefact."""
        return Artefact(result)

    @classmethod
    def load(cls, artefact: Artefact) -> Numbers:
        """The numbers again."""
        return dict(artefact.content)
