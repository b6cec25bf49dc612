"""Artefacts by their hash and records of runs, each written atomically, without knowledge of what they mean."""

from perturblearn.store.artefacts import Artefact, ArtefactStore, DamagedArtefact, file_hash, separate, write_tensors
from perturblearn.store.drafts import Drafts
from perturblearn.store.records import Collection, Record, RecordStore, State
from perturblearn.store.size import parse_size
from perturblearn.store.versions import versions

__all__ = [
    "Artefact",
    "ArtefactStore",
    "Collection",
    "DamagedArtefact",
    "Drafts",
    "Record",
    "RecordStore",
    "State",
    "file_hash",
    "parse_size",
    "separate",
    "versions",
    "write_tensors",
]
