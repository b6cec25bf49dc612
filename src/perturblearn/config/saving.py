"""Files that g's training set goes through before g sees it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from perturblearn.config.section import Section, none_for

USUAL_QUALITY = 75
"""What programs that write JPEG use unless told otherwise."""


class SavingConfig(Section):
    """Images written to files and read again: what survives of a perturbed set."""

    # None where a key asks for nothing, so that equal sets have one identity.
    format: Literal["png", "jpeg"] | None = Field(
        default=None,
        description="images: g sees its training set as files of this format hold it, with 8 bits per value (as it is)",
    )
    quality: Annotated[Annotated[int, Field(ge=1, le=100)] | None, none_for(USUAL_QUALITY)] = Field(
        default=None, description="jpeg: from 1 to 100 (75)"
    )
    scale: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="files hold images whose sides are scaled by this factor, and that are scaled up again when they "
        "are read (1)",
    )

    @property
    def is_saved(self) -> bool:
        """Whether g sees what files hold."""
        return self.format is not None

    @property
    def words(self) -> str:
        """What the files are, in a few words."""
        quality = f" of quality {self.quality or USUAL_QUALITY}" if self.format == "jpeg" else ""
        scale = "" if self.scale is None else f" at {self.scale:g} of the size"
        return f"{(self.format or '').upper()}{quality}{scale}"

    @model_validator(mode="after")
    def _applies(self) -> Self:
        if self.quality is not None and self.format != "jpeg":
            raise ValueError(
                f"the key quality applies to format jpeg, but it is {self.format or 'not given'}; remove quality, or "
                "set format = 'jpeg'"
            )
        if self.scale is not None and self.format is None:
            raise ValueError(f"scale = {self.scale:g} is about files, but no format is given; set format = 'png'")
        return self
