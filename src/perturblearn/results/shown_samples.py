"""Files of samples that pages show: tensors, and what is no tensor as JSON in the header."""

# Safetensors is not typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from perturblearn.errors import StoreError


@contextmanager
def saved_samples(path: Path, name: str) -> Generator[tuple[dict[str, Any], Any], None, None]:
    """The JSON under a name in the header of a file, and the open file.

    Raises:
        StoreError: it is damaged, as far as the block that reads it finds out.
    """
    try:
        with safe_open(path, "pt") as file:
            yield json.loads((file.metadata() or {})[name]), file
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(f"{path} is damaged ({error!r}); run the experiment again with --force") from None
