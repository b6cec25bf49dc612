"""The forms of full-batch training: where the units' states live."""

from __future__ import annotations

from typing import Literal

Form = Literal["plain", "row_space", "low_rank", "gram"]
FORMS: tuple[Form, ...] = ("plain", "row_space", "low_rank", "gram")
"""The forms by their names in a configuration."""


def form_words(form: Form) -> str:
    """A form as people read it."""
    return "Gram" if form == "gram" else form.replace("_", " ")
