"""How sources are perturbed."""

# Sections are frozen, which the type checker does not see: a variant may narrow the type of a field.
# pyright: reportIncompatibleVariableOverride=false
from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from perturblearn.config.band import BandName
from perturblearn.config.section import IMPORT_PATH, PositiveInt, none_for
from perturblearn.config.variants import NamedVariants
from perturblearn.errors import ConfigError

NormName = Literal["l0", "l2", "linf"]
_NORM = "norm that bounds the perturbation"
_EPSILON = "size of the perturbation (l0: its L2 length)"
BARE_SOURCE, REBUILT_SOURCE = "none", "another"
FIXED_SOURCES = ("natural", BARE_SOURCE)
"""Sources of the papers that nothing is drawn for."""
_NOISE_SOURCES = ("uniform", "gauss")
SOURCES = (*FIXED_SOURCES, *_NOISE_SOURCES, "noisy", "errors")
"""Sources by their names; besides, there are those of another data set."""
SOURCE_KEYS = ("n_sources", "signal_to_noise")
"""Keys about sources alone."""
FOREIGN_SOURCE = "data:NAME"
"""What these are called where their name does not matter."""
RANDOM_TARGETS, WRONG_TARGETS = "uniform", "other"
_SOFT_TARGETS = ("soft", "auxiliary")
_SOURCE = (
    "what is perturbed: natural (training inputs), none (nothing: the bare perturbation), uniform or gauss (noise), "
    "noisy (training inputs under noise), errors (those that f gets wrong), data:NAME (inputs of another data set); "
    "rebuild: another training input, drawn at random"
)
_TARGETS = (
    "target labels: uniform over all classes, other (uniform over the other classes), next (the next class), given, "
    "predicted (what f says of the source), soft (the same, and g learns f's outputs), auxiliary (the same, and g "
    "learns f's auxiliary outputs alone), true; rebuild: the true label of the input that is rebuilt"
)
_STEPS = "gradient steps"


def _is_source(source: Any) -> Any:
    known = isinstance(source, str) and (source in SOURCES or len(source.removeprefix("data:")) not in (0, len(source)))
    if not known:
        expected = ", ".join(f"'{each}'" for each in SOURCES)
        raise PydanticKnownError("literal_error", {"expected": f"{expected} or {FOREIGN_SOURCE!r}"})
    return source


class AttackConfig(NamedVariants):
    """How the sources are perturbed, and towards which targets."""

    noun: ClassVar = "attack"
    inert: ClassVar = {"random_start": False, "restarts": 1, "products": "exact"}
    is_search: ClassVar[bool] = False
    """Whether the attack takes many steps inside the data's range."""
    rebuilds: ClassVar[bool] = False
    """Whether inputs are rebuilt from features and keep their labels, instead of moved within a bound to wrong ones."""

    norm: NormName = Field(default="l2", description=_NORM)
    epsilon: Annotated[float, Field(ge=0)] = Field(default=1.0, description=_EPSILON)
    source: Annotated[str, BeforeValidator(_is_source)] = Field(default="natural", description=_SOURCE)
    n_sources: PositiveInt | None = Field(
        default=None, description="sources of noise or of another data set (as many as training samples)"
    )
    signal_to_noise: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="noisy: variance of the training inputs over that of the Gaussian noise on each of them",
    )
    targets: Literal["uniform", "other", "next", "given", "predicted", "soft", "auxiliary", "true"] = Field(
        default="uniform", description=_TARGETS
    )

    @classmethod
    def variants(cls) -> tuple[type[AttackConfig], ...]:
        """The variants, the default first."""
        return (
            OneStepConfig,
            RadialPGDConfig,
            PGDConfig,
            MinimumNormConfig,
            RebuildConfig,
            GeometryConfig,
            FoolboxConfig,
            OwnAttackConfig,
        )

    @property
    def is_bare(self) -> bool:
        """Whether nothing is perturbed, so that g sees perturbations alone."""
        return self.source == BARE_SOURCE

    @property
    def is_noise(self) -> bool:
        """Whether sources are drawn, and not inputs of any data."""
        return self.source in _NOISE_SOURCES

    @property
    def is_chosen_by_f(self) -> bool:
        """Whether what f says of them decides which inputs are sources, so that it takes a trained f to count them."""
        return self.source == "errors"

    @property
    def source_without_f(self) -> str:
        """The source of controls and parts that must not know what f says: all inputs, where f chooses among them."""
        return "natural" if self.is_chosen_by_f else self.source

    @property
    def source_kind(self) -> str:
        """The source, but `FOREIGN_SOURCE` for those of any other data set."""
        return self.source if self.foreign is None else FOREIGN_SOURCE

    @property
    def foreign(self) -> str | None:
        """The data set that sources are taken from instead of the experiment's own."""
        name = self.source.removeprefix("data:")
        return None if name == self.source else name

    @property
    def asks_f(self) -> bool:
        """Whether targets are what f says of the sources."""
        return self.targets in ("predicted", *_SOFT_TARGETS)

    @property
    def targets_without_f(self) -> str:
        """The targets of controls that must not know what f says."""
        return RANDOM_TARGETS if self.asks_f else self.targets

    @property
    def keeps_labels(self) -> bool:
        """Whether every target is the true label."""
        return self.targets == "true"

    @property
    def contradicts_labels(self) -> bool:
        """Whether no target is the true label."""
        return self.targets in (WRONG_TARGETS, "next")

    @property
    def is_soft(self) -> bool:
        """Whether g learns outputs of f instead of labels."""
        return self.targets in _SOFT_TARGETS

    @property
    def teaches_auxiliary(self) -> bool:
        """Whether these are f's auxiliary outputs, which no label is about."""
        return self.targets == "auxiliary"

    @property
    def has_labels(self) -> bool:
        """Whether sources have true labels."""
        return not self.is_noise and self.foreign is None

    @property
    def has_known_factors(self) -> bool:
        """Whether all perturbations of a narrow f are combinations of a few known directions."""
        return False

    @property
    def n_others(self) -> int:
        """Networks besides f that perturbations are to leave alone."""
        return 0

    @property
    def keeps_odds(self) -> bool:
        """Whether these keep their odds of the target instead of their true labels."""
        return False

    @property
    def is_bfloat16(self) -> bool:
        """Whether the search is in bfloat16."""
        return False

    @property
    def searches(self) -> int:
        """How often the search is done, one over copies of the samples counted as one for each copy."""
        return 1

    def n_pixels(self, input_dim: int) -> int | None:
        """Coordinates that an L0 perturbation changes; None for other norms.

        Args:
            input_dim: dimension d, of which a share is taken.
        """
        return None

    def gradient_steps(self, input_dim: int) -> int:
        """Steps of one search, about, for the plan.

        Args:
            input_dim: dimension d of the inputs.
        """
        return 1

    @model_validator(mode="after")
    def _has_labels_for_its_targets(self) -> Self:
        if self.n_sources is not None and self.has_labels:
            raise ValueError(
                f"the key n_sources applies to noise sources and to those of another data set; {self.source} perturbs "
                "each training sample; remove it"
            )
        if (self.contradicts_labels or self.keeps_labels) and not self.has_labels:
            kind = "of another data set are not those of this one" if self.foreign else "noise does not have"
            whose = "which sources " if self.foreign else f"which {self.source} "
            raise ValueError(f"targets {self.targets} needs true labels, {whose}{kind}; choose uniform")
        if (self.signal_to_noise is None) == (self.source == "noisy"):
            raise ValueError(
                "source noisy needs the key signal_to_noise; add it, for example signal_to_noise = 1"
                if self.signal_to_noise is None
                else f"the key signal_to_noise applies to the source noisy, not to {self.source}; remove it"
            )
        if self.is_chosen_by_f and not self.asks_f:
            raise ValueError(
                f"source {self.source} is about f's own wrong answers, which targets {self.targets} are not; choose "
                "predicted"
            )
        return self


class SparseAttackConfig(AttackConfig):
    """Attacks that may change a few coordinates alone."""

    pixels: PositiveInt | None = Field(default=None, description="coordinates that an l0 perturbation changes")
    pixel_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="the same as a share of all coordinates, rounded down"
    )

    @model_validator(mode="after")
    def _counts_coordinates_in_l0(self) -> Self:
        given = [key for key in ("pixels", "pixel_share") if getattr(self, key) is not None]
        if self.norm != "l0" and given:
            raise ValueError(f"the key {given[0]} applies to norm l0 alone, not to {self.norm}; remove it")
        if self.norm == "l0" and not given:
            raise ValueError("norm l0 needs the key pixels, the number of coordinates to change; add it")
        if len(given) == 2:
            raise ValueError("pixels and pixel_share say the same in two ways; remove one of them")
        return self

    @property
    def coordinates(self) -> str:
        """How many coordinates may change, in words; empty for all."""
        if self.pixel_share is not None:
            return f"{100 * self.pixel_share:g} % of the coordinates"
        return "" if self.pixels is None else f"{self.pixels} coordinates"

    def n_pixels(self, input_dim: int) -> int | None:
        """See `AttackConfig.n_pixels`.

        Raises:
            ConfigError: the share is less than one coordinate.
        """
        if self.pixel_share is None:
            return self.pixels
        pixels = int(self.pixel_share * input_dim)
        if pixels == 0:
            raise ConfigError(
                f"attack.pixel_share = {self.pixel_share:g} of {input_dim} coordinates is less than one of them; "
                f"choose at least {1 / input_dim:.2g}"
            )
        return pixels


class OneStepConfig(SparseAttackConfig):
    """One gradient step."""

    name: Literal["one_step"] = Field(
        default="one_step", description="one gradient step of length epsilon, unclipped (NeurIPS24)"
    )

    @property
    def has_known_factors(self) -> bool:
        """See `AttackConfig.has_known_factors`."""
        return self.norm == "l2" and self.is_bare


class GeometryConfig(SparseAttackConfig):
    """A step along a limit's normal."""

    name: Literal["geometry"] = Field(default="geometry", description="along the normal of a limit's boundary")


class SearchConfig(AttackConfig):
    """Attacks that move a source step by step."""

    is_search: ClassVar = True

    @model_validator(mode="after")
    def _has_something_to_move(self) -> Self:
        if self.is_bare:
            raise ValueError(
                f"{self.name} moves a source step by step, and source none has none; choose another source"
            )
        return self


class IterativeConfig(SearchConfig):
    """Our own searches, of a given number of steps."""

    steps: PositiveInt = Field(default=100, description=_STEPS)
    step: Annotated[float, Field(gt=0)] = Field(
        default=0.2, description="length of such a step, as a multiple of epsilon"
    )
    products: Literal["exact", "bfloat16"] = Field(
        default="exact",
        description="search in the precision of dtype, or in bfloat16; success is always measured in the former",
    )

    @property
    def is_bfloat16(self) -> bool:
        """See `AttackConfig.is_bfloat16`."""
        return self.products == "bfloat16"

    def gradient_steps(self, input_dim: int) -> int:
        """See `AttackConfig.gradient_steps`."""
        return self.steps


class RestartingConfig(IterativeConfig):
    """Searches that may start at random points."""

    random_start: bool = Field(default=False, description="start at a random point within epsilon")
    restarts: PositiveInt = Field(default=1, description="searches from such points; the best counts")
    # None where a key asks for nothing, so that sets from before it keep their identity.
    patience: PositiveInt | None = Field(
        default=None,
        description="every so many steps, samples whose least loss has fallen by less than 1 % since the last look are "
        "left as they are (all samples take all steps)",
    )
    augment: PositiveInt | None = Field(
        default=None,
        description="images: each step's gradient is the mean over so many copies, flipped and shifted by up to 2 "
        "pixels at random (of the image itself)",
    )

    away: Annotated[bool | None, none_for(False)] = Field(
        default=None, description="move sources away from the targets, as poisons do from true labels (false)"
    )
    keep_others: Annotated[PositiveInt | None, none_for(0)] = Field(
        default=None,
        description="networks trained as f is, but independently, which perturbations are to leave at the true label: "
        "what fools f alone (0)",
    )
    keep: Annotated[Literal["labels", "odds"] | None, none_for("labels")] = Field(
        default=None,
        description="what of them is kept: their true label, or their odds of the target, which f's are to exceed "
        "(labels)",
    )

    @model_validator(mode="after")
    def _starts_elsewhere(self) -> Self:
        if self.restarts > 1 and not self.random_start:
            raise ValueError(
                f"restarts = {self.restarts} without random_start would search {self.restarts} times from one point; "
                "add random_start = true"
            )
        return self

    @model_validator(mode="after")
    def _has_labels_to_keep(self) -> Self:
        if self.keep_others is not None and not self.has_labels:
            raise ValueError(
                f"keep_others = {self.keep_others} leaves other networks at the true labels of the sources, which "
                f"source {self.source} does not have; choose source natural, or remove it"
            )
        return self

    @model_validator(mode="after")
    def _has_odds_to_keep(self) -> Self:
        if self.keep == "odds" and self.keep_others is None:
            raise ValueError("keep = odds is about other networks, but keep_others = 0; set it, or remove keep")
        if self.keep == "odds" and self.away:
            raise ValueError("keep = odds moves sources towards targets, but away = true; remove one of them")
        return self

    @property
    def searches(self) -> int:
        """See `AttackConfig.searches`."""
        return self.restarts * (self.augment or 1)

    @property
    def n_others(self) -> int:
        """See `AttackConfig.n_others`."""
        return self.keep_others or 0

    @property
    def keeps_odds(self) -> bool:
        """See `AttackConfig.keeps_odds`."""
        return self.keep == "odds"


class RadialPGDConfig(SparseAttackConfig, RestartingConfig):
    """Projected gradient descent of ICLR24."""

    name: Literal["radial_pgd"] = Field(
        default="radial_pgd", description="projected gradient descent as in ICLR24, rescaled and clipped"
    )

    @model_validator(mode="after")
    def _takes_one_coordinate_a_step_in_l0(self) -> Self:
        if self.norm != "l0":
            return self
        for key in ("steps", "step", "random_start", "restarts"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"the key {key} applies to radial_pgd in l2 and linf alone; remove it")
        if self.epsilon != type(self).model_fields["epsilon"].default:
            raise ValueError("the key epsilon does not bound radial_pgd in l0, which pixels does; remove it")
        return self

    def gradient_steps(self, input_dim: int) -> int:
        """See `AttackConfig.gradient_steps`."""
        return self.n_pixels(input_dim) or self.steps


class PGDConfig(RestartingConfig):
    """Projected gradient descent."""

    name: Literal["pgd"] = Field(default="pgd", description="the usual one, signs and clamped in linf")
    norm: Literal["l2", "linf"] = Field(default="l2", description=_NORM)
    band: str | None = Field(
        default=None,
        description="l2: where perturbations may lie, frequency:0-0.25 of images, components:0-30 (principal ones of "
        "the training inputs), or not ... for all but these (anywhere)",
    )

    @field_validator("band")
    @classmethod
    def _is_band(cls, band: str | None) -> str | None:
        if band is not None:
            BandName.parse(band)
        return band

    @model_validator(mode="after")
    def _stays_in_its_band(self) -> Self:
        if self.band is not None and self.norm != "l2":
            raise ValueError("the key band applies to norm l2 alone: signs of a gradient leave any band; choose l2")
        if self.band is not None and self.random_start:
            raise ValueError("random_start = true would start outside the band; remove one of them")
        return self


class MinimumNormConfig(IterativeConfig):
    """The smallest perturbation."""

    name: Literal["minimum_norm"] = Field(
        default="minimum_norm", description="the smallest perturbation that reaches the target, epsilon at most"
    )
    norm: Literal["l2", "linf"] = Field(default="l2", description=_NORM)


class RebuildConfig(AttackConfig):
    """Inputs rebuilt from f's features, under their true labels: the sets D_R and D_NR of Ilyas19."""

    is_search: ClassVar = True
    rebuilds: ClassVar = True

    name: Literal["rebuild"] = Field(
        default="rebuild",
        description="other inputs, moved until f's last features are those of an input, under its true label (Ilyas19)",
    )
    norm: Literal["l2"] = Field(default="l2", description=_NORM)
    epsilon: None = Field(default=None, description=_EPSILON)
    source: Literal["another"] = Field(default=REBUILT_SOURCE, description=_SOURCE)
    targets: Literal["original"] = Field(default="original", description=_TARGETS)
    steps: PositiveInt = Field(default=1000, description=_STEPS)
    step: Annotated[float, Field(gt=0)] = Field(
        default=0.1, description="length of such a step in L2, in the units of the data"
    )
    layer: str | None = Field(
        default=None,
        description="name of the layer of f whose output are the features (what the last linear layer receives)",
    )

    @field_validator("norm", "epsilon", "source", "targets", mode="before")
    @classmethod
    def _has_no_bound(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None, "it is a field's"
        default = cls.model_fields[info.field_name].default
        if value != default:
            known = "no bound" if default is None else f"{info.field_name} {default!r} alone"
            raise ValueError(
                "the attack rebuild moves another input until f's features are those of an original, and knows "
                f"{known}; remove the key"
            )
        return value

    def gradient_steps(self, input_dim: int) -> int:
        """See `AttackConfig.gradient_steps`."""
        return self.steps


class FoolboxConfig(SearchConfig):
    """An attack of foolbox."""

    tag: ClassVar = "foolbox:NAME"
    is_own: ClassVar = True

    name: str = Field(description="an attack of foolbox")
    norm: Literal["l2", "linf"] = Field(default="l2", description=_NORM)
    steps: PositiveInt | None = Field(default=None, description=_STEPS)

    @classmethod
    def answers_to(cls, name: str) -> bool:
        """See `NamedVariants.answers_to`."""
        return name.startswith("foolbox:") and IMPORT_PATH.fullmatch(name) is not None

    def gradient_steps(self, input_dim: int) -> int:
        """See `AttackConfig.gradient_steps`."""
        return self.steps or 100


class OwnAttackConfig(SearchConfig):
    """The user's own attack."""

    tag: ClassVar = "package.module:attack"
    is_own: ClassVar = True

    name: str = Field(description="the user's own")
    norm: Literal["l2", "linf"] = Field(default="l2", description=_NORM)

    @classmethod
    def answers_to(cls, name: str) -> bool:
        """See `NamedVariants.answers_to`."""
        return not name.startswith("foolbox:") and IMPORT_PATH.fullmatch(name) is not None

    def gradient_steps(self, input_dim: int) -> int:
        """See `AttackConfig.gradient_steps`."""
        return 100
