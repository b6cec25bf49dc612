"""Shape types of the numeric core are checked while tests run, in the rooms listed here and nowhere else.

To be imported before those rooms are; `conftest.py` does so.
"""

from __future__ import annotations

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

CHECKED = ["perturblearn.attacks", "perturblearn.theory", "perturblearn.training"]
"""Rooms whose functions are checked, arguments and results, at every call."""

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for pyright

install_import_hook(CHECKED, f"{__name__}.check")
