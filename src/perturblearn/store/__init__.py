"""Artefacts by their hash and records of runs, each written atomically, without knowledge of what they mean."""

from perturblearn.store.artefact import Artefact
from perturblearn.store.artefacts import ArtefactStore, DamagedArtefact, KnownArtefact, file_hash
from perturblearn.store.drafts import Drafts, drafts_in
from perturblearn.store.files import load_from, replacing, separate, write_artefact, write_tensors
from perturblearn.store.places import expanded
from perturblearn.store.records import Collection, Record, RecordStore, State
from perturblearn.store.size import parse_size
from perturblearn.store.versions import versions

__all__ = [
    "Artefact",
    "ArtefactStore",
    "Collection",
    "DamagedArtefact",
    "Drafts",
    "KnownArtefact",
    "Record",
    "RecordStore",
    "State",
    "drafts_in",
    "expanded",
    "file_hash",
    "load_from",
    "parse_size",
    "replacing",
    "separate",
    "versions",
    "write_artefact",
    "write_tensors",
]
