"""Parts of unfinished results, which survive the end of their process."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from perturblearn.errors import StoreError
from perturblearn.store.artefact import Artefact
from perturblearn.store.artefacts import ArtefactStore, DamagedArtefact


class Drafts:
    """Named parts of one unfinished result, each written atomically.

    They serve only to continue after an interruption. Lost or damaged parts are computed again, and failures to write
    are ignored.

    Args:
        store: the store; None keeps nothing.
        key: hash of the unfinished result.
    """

    def __init__(self, store: ArtefactStore | None = None, key: str = "") -> None:
        self._store = store
        self._key = key
        self._prefix = ""
        self._used: set[str] = set()

    @property
    def are_kept(self) -> bool:
        """Whether drafts are stored at all."""
        return self._store is not None

    @property
    def are_used(self) -> bool:
        """Whether anything was read or written here."""
        return bool(self._used)

    def within(self, name: str) -> Drafts:
        """Drafts of one part of this result, with a prefix of their own."""
        inner = Drafts(self._store, self._key)
        inner._prefix, inner._used = f"{self._prefix}{name}/", self._used
        return inner

    def read(self, name: str) -> Artefact | None:
        """The draft last written under this name, or None."""
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
        """Store an artefact under this name, replacing an earlier one."""
        if self._store is not None:
            self._used.add(self._key_of(name))
            origin = {"draft of": self._key, "name": f"{self._prefix}{name}"}
            with suppress(StoreError):  # writing the finished result will fail too, and report it
                self._store.write(self._key_of(name), artefact, origin=origin, replace=True)

    def remove(self, name: str) -> None:
        """Delete the draft under this name, if there is one."""
        if self._store is not None:
            with suppress(StoreError):
                self._store.remove(self._key_of(name))

    def clear(self) -> None:
        """Delete every draft of the result, whoever wrote it; call it once the result is stored."""
        if self._store is not None:
            for key in self._store.keys(f"{self._key}-*"):
                with suppress(StoreError):
                    self._store.remove(key)

    def _key_of(self, name: str) -> str:
        return draft_key(self._key, f"{self._prefix}{name}")


def draft_key(key: str, name: str) -> str:
    """The key of a draft: that of its result, and a hash of its name, so that a listing shows whose it is."""
    return f"{key}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def drafts_in(store: ArtefactStore) -> dict[str, list[str]]:
    """The keys of all drafts in a store, by that of the result which they belong to."""
    found: dict[str, list[str]] = {}
    for key in store.keys("??*-*"):
        found.setdefault(key.partition("-")[0], []).append(key)
    return found
