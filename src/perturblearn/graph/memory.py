"""How much memory this machine can give."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that a program can take without swapping; all there are where the system does not say, None if unknown.

    Args:
        meminfo: where Linux says so.
    """
    with suppress(OSError, ValueError, IndexError):
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


@contextmanager
def collecting_nothing() -> Generator[None, None, None]:
    """Make many objects that stay without the garbage collector going through all of them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
