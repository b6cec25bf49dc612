"""How sources are perturbed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from perturblearn.config.section import IMPORT_PATH, PositiveInt, Section

NOISE_SOURCES = ("uniform", "gauss")
ATTACKS = ("one_step", "radial_pgd", "pgd", "minimum_norm", "geometry")


class AttackConfig(Section):
    """How the sources are perturbed, and towards which targets."""

    name: str = Field(
        default="one_step",
        description="one_step: one gradient step of length epsilon, unclipped (NeurIPS24); radial_pgd: projected "
        "gradient descent as in ICLR24, rescaled and clipped; pgd: the usual one, signs and clamped in linf; "
        "minimum_norm: the smallest perturbation that reaches the target, epsilon at most; geometry: along the normal "
        "of a limit's boundary; foolbox:NAME, an attack of foolbox; or the user's own as package.module:attack",
    )
    norm: Literal["l0", "l2", "linf"] = Field(default="l2", description="norm that bounds the perturbation")
    epsilon: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="size of the perturbation (l0: its L2 length)"
    )
    pixels: PositiveInt | None = Field(default=None, description="coordinates that an l0 perturbation changes")
    pixel_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="the same as a share of all coordinates, rounded down"
    )
    steps: PositiveInt | None = Field(
        default=None,
        description="gradient steps of radial_pgd (l2 and linf), pgd and minimum_norm (100), or of foolbox's attack",
    )
    step: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="length of such a step, as a multiple of epsilon (0.2)"
    )
    random_start: bool = Field(default=False, description="radial_pgd, pgd: start at a random point within epsilon")
    restarts: PositiveInt = Field(default=1, description="radial_pgd, pgd: searches from such points; the best counts")
    products: Literal["exact", "bfloat16"] = Field(
        default="exact",
        description="radial_pgd, pgd, minimum_norm: search in the precision of dtype, or in bfloat16; success is "
        "always measured in the former",
    )
    source: Literal["natural", "none", "uniform", "gauss"] = Field(
        default="natural",
        description="what is perturbed: training inputs, nothing (the bare perturbation), uniform or N(0, 1) noise",
    )
    n_sources: PositiveInt | None = Field(
        default=None, description="noise sources to draw (as many as training samples)"
    )
    targets: Literal["uniform", "other", "next", "given"] = Field(
        default="uniform",
        description="target labels: over all classes, over the other classes, the next class, or given",
    )

    @property
    def is_own(self) -> bool:
        """Whether this is an adapter: foolbox's attack or the user's own."""
        return ":" in self.name

    @property
    def is_search(self) -> bool:
        """Whether the attack takes many steps inside the data's range."""
        return self.name not in ("one_step", "geometry")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ATTACKS and not IMPORT_PATH.fullmatch(name):
            raise ValueError(
                f"there is no such attack; choose {', '.join(ATTACKS)}, foolbox:NAME, or name your own as "
                "package.module:attack"
            )
        return name

    @model_validator(mode="after")
    def _applicable(self) -> AttackConfig:
        fields = type(self).model_fields
        for key in ("pixels", "pixel_share"):
            if self.norm != "l0" and getattr(self, key) is not None:
                raise ValueError(f"the key {key} applies to norm l0 alone, not to {self.norm}; remove it")
        if self.norm == "l0":
            if self.is_own or self.name in ("pgd", "minimum_norm"):
                raise ValueError(
                    f"norm l0 is not one of {self.name}; choose radial_pgd, one_step or geometry, or l2 or linf"
                )
            if self.pixels is None and self.pixel_share is None:
                raise ValueError("norm l0 needs the key pixels, the number of coordinates to change; add it")
            if self.pixels is not None and self.pixel_share is not None:
                raise ValueError("pixels and pixel_share say the same in two ways; remove one of them")
        for key, names in _ATTACK_KEYS.items():
            applies = self.name in names or ("foolbox" in names and self.name.startswith("foolbox:"))
            if getattr(self, key) != fields[key].default and not applies:
                raise ValueError(f"the key {key} does not apply to {self.name}; remove it")
        if self.norm == "l0" and self.name == "radial_pgd":
            for key in ("steps", "step", "random_start", "restarts"):
                if getattr(self, key) != fields[key].default:
                    raise ValueError(f"the key {key} applies to radial_pgd in l2 and linf alone; remove it")
            if self.epsilon != fields["epsilon"].default:
                raise ValueError("the key epsilon does not bound radial_pgd in l0, which pixels does; remove it")
        if self.restarts > 1 and not self.random_start:
            raise ValueError(
                f"restarts = {self.restarts} without random_start would search {self.restarts} times from one point; "
                "add random_start = true"
            )
        if self.is_search and self.source == "none":
            raise ValueError(
                f"{self.name} moves a source step by step, and source none has none; choose another source"
            )
        if self.n_sources is not None and self.source not in NOISE_SOURCES:
            raise ValueError(
                f"the key n_sources applies to noise sources; {self.source} perturbs each training sample; remove it"
            )
        if self.targets in ("other", "next") and self.source in NOISE_SOURCES:
            raise ValueError(
                f"targets {self.targets} needs true labels, which {self.source} noise has not; choose uniform"
            )
        return self


_ATTACK_KEYS = {
    "steps": ("radial_pgd", "pgd", "minimum_norm", "foolbox"),
    "step": ("radial_pgd", "pgd", "minimum_norm"),
    "random_start": ("radial_pgd", "pgd"),
    "restarts": ("radial_pgd", "pgd"),
    "products": ("radial_pgd", "pgd", "minimum_norm"),
}
"""Which attacks a key applies to; elsewhere it must keep its default."""
