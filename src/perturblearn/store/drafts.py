"""Unfinished work that survives its process: parts of a result that is not complete yet."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from perturblearn.errors import StoreError
from perturblearn.store.artefacts import Artefact, ArtefactStore, DamagedArtefact


class Drafts:
    """Named parts of one piece of work, each written whole or not at all.

    They serve nothing but to go on after an interruption: what is lost or damaged is made again, and what cannot be
    written is not kept.

    Args:
        store: where they lie; None keeps nothing.
        key: hash of what is being worked on.
        prefix: of all names, for work that consists of several such pieces.
    """

    def __init__(self, store: ArtefactStore | None = None, key: str = "", prefix: str = "") -> None:
        self._store = store
        self._key = key
        self._prefix = prefix
        self._used: set[str] = set()

    @property
    def are_kept(self) -> bool:
        """Whether anything written can be read again."""
        return self._store is not None

    @property
    def are_used(self) -> bool:
        """Whether anything was read or written here."""
        return bool(self._used)

    def within(self, name: str) -> Drafts:
        """Drafts of a piece of this work, under names of their own."""
        inner = Drafts(self._store, self._key, f"{self._prefix}{name}/")
        inner._used = self._used
        return inner

    def read(self, name: str) -> Artefact | None:
        """What was last written under this name, or None."""
        if self._store is None:
            return None
        key = self._key_of(name)
        self._used.add(key)
        try:
            return self._store.read(key)
        except KeyError:
            return None
        except (DamagedArtefact, StoreError):
            self.remove(name)
            return None

    def write(self, name: str, artefact: Artefact) -> None:
        """Put an artefact under this name, in the place of what was there."""
        if self._store is not None:
            self._used.add(self._key_of(name))
            origin = {"draft of": self._key, "name": f"{self._prefix}{name}"}
            with suppress(StoreError):  # told when the finished result cannot be written either
                self._store.write(self._key_of(name), artefact, origin=origin, replace=True)

    def remove(self, name: str) -> None:
        """Delete what is under this name, if there is anything."""
        if self._store is not None:
            with suppress(StoreError):
                self._store.remove(self._key_of(name))

    def clear(self) -> None:
        """Delete everything that was read or written here, once the work is complete."""
        if self._store is not None:
            for key in self._used:
                with suppress(StoreError):
                    self._store.remove(key)
        self._used.clear()

    def _key_of(self, name: str) -> str:
        return draft_key(self._key, f"{self._prefix}{name}")


def draft_key(key: str, name: str) -> str:
    """SHA-256 that no result has: of a piece of work's key and the name of its draft."""
    return hashlib.sha256(f"draft {name} of {key}".encode()).hexdigest()
