"""Stages whose results are JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perturblearn.graph import Stored
from perturblearn.store import Artefact


class JsonStage(Stored[Mapping[str, Any]]):
    """A stage whose result is a mapping of JSON values, such as named numbers."""

    @classmethod
    def dump(cls, result: Mapping[str, Any]) -> Artefact:
        """The values as an artefact."""
        return Artefact(result)

    @classmethod
    def load(cls, artefact: Artefact) -> Mapping[str, Any]:
        """The values again."""
        return dict(artefact.content)
