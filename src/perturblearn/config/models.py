"""An experiment as a tree of small frozen models, one field per quantity of the papers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

SYNTHETIC = ("gauss", "shifted_gauss", "uniform")
"""Data drawn afresh for every seed."""
BUNDLED = ("digits", "mnist", "fashion_mnist", "cifar10")
"""Real images known by name."""
FROM_PATH = ("folder", "npz")
"""The user's own data, written ``folder:PATH`` or ``npz:PATH``."""
IN_MEMORY = "python"
"""Data handed over as objects in Python."""
PROVIDERS = (*SYNTHETIC, *BUNDLED, *FROM_PATH, IN_MEMORY)
NOISE_SOURCES = ("uniform", "gauss")


def _as_tuple(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return (value,)


def _as_names(value: Any) -> Any:
    if value is None:
        return None
    names = _as_tuple(value)
    if any(isinstance(name, bool) or not isinstance(name, (str, int)) for name in names):
        raise ValueError("give a list of classes, each by name or index")
    return tuple(str(name) for name in names)


PositiveInt = Annotated[int, Field(ge=1)]
LearningRates = Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)


class DataConfig(Section):
    """Which data, which part of it, and how it is prepared.

    Keys that make no sense for the chosen data are refused rather than ignored.
    """

    name: str = Field(
        default="digits",
        description="gauss, shifted_gauss, uniform, digits, mnist, fashion_mnist, cifar10, folder:PATH or npz:PATH",
    )
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(_as_names)] = Field(
        default=None, description="classes to keep, by name or index, in this order; of two, the first is +1"
    )
    n_samples: PositiveInt | None = Field(
        default=None, description="training samples N; synthetic data: how many to draw (1000), real data: a limit"
    )
    n_heldout: PositiveInt | None = Field(
        default=None, description="held-out samples; synthetic data: how many to draw (1000), real data: a limit"
    )
    heldout_share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="share held out by a seeded draw where the data have no split of their own (0.2)"
    )
    input_dim: PositiveInt | None = Field(default=None, description="dimension d of synthetic data (100)")
    shift: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="distance of each coordinate's mean from 0 in shifted_gauss (0.3)"
    )
    centre: bool | float = Field(
        default=True, description="subtract the data's mean value (true), a given value, or nothing (false)"
    )
    flatten: bool = Field(
        default=True, description="one vector per sample; false keeps images as channels x height x width"
    )

    @property
    def provider(self) -> str:
        """The provider's name, without a path."""
        return self.name.partition(":")[0]

    @property
    def path(self) -> str | None:
        """The path of ``folder:PATH`` and ``npz:PATH``."""
        return self.name.partition(":")[2] or None

    @property
    def is_synthetic(self) -> bool:
        """Whether the data are drawn afresh for every seed."""
        return self.provider in SYNTHETIC

    @field_validator("centre", mode="before")
    @classmethod
    def _shift_by(cls, centre: Any) -> Any:
        if not isinstance(centre, (bool, int, float)) or not math.isfinite(centre):
            raise ValueError("give true, false or a finite number")
        return centre

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        provider, colon, path = name.partition(":")
        if provider in FROM_PATH:
            if not path:
                raise ValueError(f"{provider} needs a path: write {provider}:PATH")
        elif colon or provider not in (*SYNTHETIC, *BUNDLED, IN_MEMORY):
            known = ", ".join((*SYNTHETIC, *BUNDLED, *(f"{kind}:PATH" for kind in FROM_PATH)))
            raise ValueError(f"there is no such data; choose one of {known}")
        return name

    @model_validator(mode="after")
    def _applicable(self) -> DataConfig:
        if self.provider == IN_MEMORY:
            fixed = {
                name
                for name in self.model_fields_set - {"name"}
                if getattr(self, name) != type(self).model_fields[name].default
            }
            if fixed:
                raise ValueError(
                    f"the key {min(fixed)} does not apply to data handed over in Python; prepare them there"
                )
            return self
        synthetic = {"input_dim": self.input_dim, "shift": self.shift}
        real = {"classes": self.classes, "heldout_share": self.heldout_share}
        refused = real if self.is_synthetic else synthetic
        if self.is_synthetic and self.provider != "shifted_gauss":
            refused = {**refused, "shift": self.shift}
        for key, value in refused.items():
            if value is not None:
                raise ValueError(f"the key {key} does not apply to {self.name}; remove it")
        if self.provider in ("mnist", "fashion_mnist", "cifar10") and self.heldout_share is not None:
            raise ValueError(f"the key heldout_share does not apply to {self.name}, which has a test set; remove it")
        if self.classes is not None:
            if len(self.classes) < 2:
                raise ValueError(f"classes = {list(self.classes)} is one class only; name at least two")
            if len(set(self.classes)) < len(self.classes):
                raise ValueError(f"classes = {list(self.classes)} names a class twice; name each once")
        return self


class ModelConfig(Section):
    """The network's parametrisation."""

    name: Literal["two_layer", "one_hidden", "limit"] = Field(
        default="two_layer",
        description="two_layer: bias, Gaussian readout (NeurIPS24); one_hidden: no bias, readout +-1/sqrt(m) (ICLR24); "
        "limit: where long training of one_hidden ends, without training",
    )
    hidden_dim: PositiveInt = Field(default=100, description="hidden units m; a limit has none to choose")
    slope: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="negative slope gamma of the leaky ReLU; above 0 for a limit"
    )
    method: Literal["two_direction", "linear"] | None = Field(
        default=None,
        description="the limit's picture: two_direction (the default) or linear (ICLR24's linear boundary)",
    )

    @model_validator(mode="after")
    def _applicable(self) -> ModelConfig:
        if self.name == "limit":
            if self.slope == 0:
                raise ValueError("slope = 0, but a limit needs units that carry a signal on both sides; choose 0.01")
            if self.hidden_dim != type(self).model_fields["hidden_dim"].default:
                raise ValueError(
                    f"hidden_dim = {self.hidden_dim} does not apply to a limit, which has two directions; remove it"
                )
        elif self.method is not None:
            raise ValueError(f"the key method applies to the model limit alone, not to {self.name}; remove it")
        return self

    @model_validator(mode="after")
    def _halves(self) -> ModelConfig:
        if self.name == "one_hidden" and self.hidden_dim % 2:
            raise ValueError(
                f"hidden_dim = {self.hidden_dim} is odd, but one_hidden has as many positive as negative units; "
                "choose an even number"
            )
        return self


class ClassifierConfig(Section):
    """How a classifier is made and trained, full batch: by gradient descent, by gradient flow, or as a limit."""

    training: Literal["descent", "flow"] = Field(
        default="descent",
        description="descent: epoch by epoch; flow: gradient flow over the time of the same epochs, in few steps",
    )

    loss: Literal["identity", "logistic", "exponential"] = Field(
        default="logistic", description="loss on the margin s = y f(x): -s, log(1 + exp(-s)) or exp(-s)"
    )
    lr: LearningRates = Field(default=(0.5,), description="learning rate; a list is a selection grid")
    epochs: PositiveInt = Field(default=300, description="full-batch epochs")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="heavy-ball momentum")
    plateau: bool = Field(default=True, description="divide lr by 10 when the loss stops improving (descent)")
    target_loss: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="flow: stop where the mean loss reaches this, if the epochs' time is not over before"
    )
    flow_step: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="flow: largest change of a margin in one step (0.1)"
    )
    exact_epochs: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="flow: first epochs done by descent (0)"
    )
    form: Literal["auto", "plain", "row_space", "low_rank", "gram"] = Field(
        default="auto",
        description="where weights live during descent; changes results by rounding alone. auto: the quickest by the "
        "cost model; plain, row_space, gram, low_rank (bare one-step perturbations in l2)",
    )
    products: Literal["exact", "bfloat16"] = Field(
        default="exact",
        description="matrix products of descent: in the precision of dtype, or bfloat16 with float32 sums and states",
    )
    model: ModelConfig = Field(default_factory=lambda: ModelConfig())

    @model_validator(mode="after")
    def _applicable(self) -> ClassifierConfig:
        fields = type(self).model_fields
        if self.training == "flow" or self.model.name == "limit":
            for key in ("form", "products"):
                if getattr(self, key) != fields[key].default:
                    raise ValueError(f"the key {key} applies to training = 'descent' alone; remove it")
        if self.training == "flow" and self.loss == "identity":
            raise ValueError("training = 'flow' follows a loss that dies out; choose the exponential or logistic loss")
        if self.training == "flow" and not self.plateau:
            raise ValueError("the key plateau applies to training = 'descent' alone; remove it")
        if self.training == "descent":
            for key in ("target_loss", "flow_step", "exact_epochs"):
                if getattr(self, key) is not None:
                    raise ValueError(f"the key {key} applies to training = 'flow' alone; remove it")
        if self.model.name == "limit":
            for key in ("training", "lr", "epochs", "momentum", "plateau"):
                if getattr(self, key) != fields[key].default:
                    raise ValueError(f"the key {key} does not apply to a limit, which is not trained; remove it")
        return self


class AttackConfig(Section):
    """How the sources are perturbed, and towards which targets."""

    name: Literal["one_step", "radial_pgd", "geometry"] = Field(
        default="one_step",
        description="one_step: one gradient step of length epsilon, unclipped (NeurIPS24); radial_pgd: projected "
        "gradient descent as in ICLR24, rescaled and clipped; geometry: along the normal of a limit's boundary",
    )
    norm: Literal["l0", "l2", "linf"] = Field(default="l2", description="norm that bounds the perturbation")
    epsilon: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="size of the perturbation (l0: its L2 length)"
    )
    pixels: PositiveInt | None = Field(default=None, description="coordinates that an l0 perturbation changes")
    steps: PositiveInt | None = Field(default=None, description="gradient steps of radial_pgd in l2 and linf (100)")
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

    @model_validator(mode="after")
    def _applicable(self) -> AttackConfig:
        if self.norm == "l0" and self.pixels is None:
            raise ValueError("norm l0 needs the key pixels, the number of coordinates to change; add it")
        if self.norm != "l0" and self.pixels is not None:
            raise ValueError(f"the key pixels applies to norm l0 alone, not to {self.norm}; remove it")
        if self.steps is not None and (self.name != "radial_pgd" or self.norm == "l0"):
            raise ValueError("the key steps applies to radial_pgd in l2 and linf alone; remove it")
        if (
            self.name == "radial_pgd"
            and self.norm == "l0"
            and self.epsilon != type(self).model_fields["epsilon"].default
        ):
            raise ValueError("the key epsilon does not bound radial_pgd in l0, which pixels does; remove it")
        if self.name == "radial_pgd" and self.source == "none":
            raise ValueError("radial_pgd moves a source step by step, and source none has none; choose another source")
        if self.n_sources is not None and self.source not in NOISE_SOURCES:
            raise ValueError(
                f"the key n_sources applies to noise sources; {self.source} perturbs each training sample; remove it"
            )
        if self.targets in ("other", "next") and self.source in NOISE_SOURCES:
            raise ValueError(
                f"targets {self.targets} needs true labels, which {self.source} noise has not; choose uniform"
            )
        return self


class MeasuresConfig(Section):
    """What is measured besides accuracies and agreement."""

    cosine_similarity: bool = Field(
        default=False, description="cosine of perturbations with the prediction t_n (NeurIPS24); cost grows with N^2"
    )


class ControlsConfig(Section):
    """Perturbation classifiers trained without the information under test."""

    draws: Annotated[int, Field(ge=0)] = Field(
        default=10, description="draws of each control per seed; 0 leaves them out"
    )


def _as_seeds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, list, tuple)):
        raise ValueError("give a number of seeds, or a list that names them")
    if value in ([], ()) or (isinstance(value, int) and value < 1):
        raise ValueError("at least one seed is needed: give a positive number or a list of seeds")
    return tuple(range(value)) if isinstance(value, int) else tuple(value)


class ExperimentConfig(Section):
    """Everything that fixes an experiment's numbers, and the device it runs on."""

    name: str = Field(default="digits", description="name of the run's folder")
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], BeforeValidator(_as_seeds)] = Field(
        default=(0, 1, 2), description="5 means 0, 1, 2, 3, 4; a list names them"
    )
    device: str = Field(default="cpu", description="cpu, cuda or cuda:1")
    dtype: Literal["float32", "float64"] = Field(default="float32", description="precision of training and attack")
    data: DataConfig = Field(default_factory=lambda: DataConfig())
    standard: ClassifierConfig = Field(default_factory=lambda: ClassifierConfig())
    attack: AttackConfig = Field(default_factory=lambda: AttackConfig())
    perturbation: ClassifierConfig = Field(default_factory=lambda: ClassifierConfig())
    controls: ControlsConfig = Field(default_factory=lambda: ControlsConfig())
    measures: MeasuresConfig = Field(default_factory=lambda: MeasuresConfig())

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise ValueError(
                "it names a folder; write at most 64 letters, digits, '.', '_' and '-', a letter or digit first"
            )
        return name

    @field_validator("device")
    @classmethod
    def _spelled(cls, device: str) -> str:
        if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", device):
            raise ValueError("there is no such device; choose cpu, cuda or cuda:N")
        return device

    @model_validator(mode="after")
    def _factors_known(self) -> ExperimentConfig:
        attack = self.attack
        bare = attack.name == "one_step" and attack.norm == "l2" and attack.source == "none"
        if self.standard.form == "low_rank" or (self.perturbation.form == "low_rank" and not bare):
            role = "standard" if self.standard.form == "low_rank" else "perturbation"
            raise ValueError(
                f"{role}.form = 'low_rank' needs inputs with known factors, which only bare one-step perturbations in "
                "l2 of a classifier narrower than the inputs have; choose auto"
            )
        for role in ("standard", "perturbation"):
            if getattr(self, role).products == "bfloat16" and self.dtype != "float32":
                raise ValueError(
                    f"{role}.products = 'bfloat16' keeps its states in float32, but dtype = {self.dtype!r}; "
                    "choose float32, or exact products"
                )
        return self

    @model_validator(mode="after")
    def _boundary_known(self) -> ExperimentConfig:
        limits = self.standard.model.name == self.perturbation.model.name == "limit"
        if limits and self.attack.source == "none":
            raise ValueError(
                "attack.source = 'none' leaves a limit's bare perturbations, which are multiples of a few directions "
                "and have no limit of their own; choose another source, or a trained perturbation classifier"
            )
        if self.attack.name == "geometry" and self.standard.model.name != "limit":
            raise ValueError(
                "attack.name = 'geometry' follows the normal of a limit's boundary, but standard.model.name = "
                f"{self.standard.model.name!r}; choose the model limit, or another attack"
            )
        return self

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: Sequence[int]) -> Sequence[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice; name each once")
        return seeds
