"""Which data an experiment is on."""

# Sections are frozen, which the type checker does not see: a variant may narrow the type of a field.
# pyright: reportIncompatibleVariableOverride=false
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from perturblearn.config.section import PositiveInt, as_tuple
from perturblearn.config.values import Keys
from perturblearn.config.variants import NamedVariants, is_mapping

_N_SAMPLES = "training samples N; synthetic data: how many to draw (1000), real data: a limit"
_N_HELDOUT = "held-out samples; synthetic data: how many to draw (1000), real data: a limit"


def _as_names(value: Any) -> Any:
    if value is None:
        return None
    names = as_tuple(value)
    if any(isinstance(name, bool) or not isinstance(name, (str, int)) for name in names):
        raise ValueError("give a list of classes, each by name or index")
    return tuple(str(name) for name in names)


OutputsOfClasses = tuple[tuple[str, tuple[int, ...]], ...]
"""Output indices of a network by the name of a class, in the order of the names."""


def outputs_of_classes(value: Any) -> OutputsOfClasses:
    """A mapping of classes to output indices in the form in which equal ones are equal.

    Args:
        value: an index or a list of indices by the name of a class, ``{"cat": 281, "dog": [151, 152]}``.

    Raises:
        ValueError: it has another form, or two classes have an index in common.
    """
    if not is_mapping(value) or not value:
        raise ValueError("give the output of each class, such as {cat = 281, dog = [151, 152]}")
    owner: dict[int, str] = {}
    found: dict[str, tuple[int, ...]] = {}
    for name, places in value.items():
        found[str(name)] = indices = as_tuple(places)
        if not indices or any(isinstance(index, bool) or not isinstance(index, int) or index < 0 for index in indices):
            raise ValueError(f"the class {name} has the outputs {places!r}; give one index or a list, counted from 0")
        for index in indices:
            if index in owner:
                raise ValueError(f"the output {index} is named for {owner[index]} and for {name}; name each once")
            owner[index] = str(name)
    return tuple(sorted(found.items()))


class DataConfig(NamedVariants):
    """Which data, which part of it, and how it is prepared."""

    noun: ClassVar = "data"
    inert: ClassVar = {"skip_bad": False, "centre": True, "standardise": False, "flatten": True}
    if TYPE_CHECKING:  # the variants have typed constructors

        def __init__(self, **keys: Any) -> None: ...

    is_synthetic: ClassVar[bool] = False
    """Whether the data are drawn afresh for every seed."""

    @classmethod
    def variants(cls) -> tuple[type[DataConfig], ...]:
        """The variants, the default first."""
        return (
            DigitsConfig,
            MNISTConfig,
            FashionMNISTConfig,
            CIFAR10Config,
            FolderConfig,
            NpzConfig,
            GaussConfig,
            ShiftedGaussConfig,
            CorrelatedConfig,
            UniformConfig,
            PythonConfig,
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
    def chosen_classes(self) -> tuple[str, ...] | None:
        """The classes that are kept, as the user names them; None for all there are."""
        return None

    @property
    def is_standardised(self) -> bool:
        """Whether every feature is brought to mean 0 and deviation 1."""
        return False


class PreparedConfig(DataConfig):
    """Data that we read or draw, and prepare."""

    centre: bool | float = Field(
        default=True, description="subtract the data's mean value (true), a given value, or nothing (false)"
    )
    standardise: bool | None = Field(
        default=None,
        description="bring every feature to mean 0 and deviation 1 over the training part, for tables of any scale (of "
        "images all values are one feature)",
    )
    flatten: bool = Field(
        default=True, description="one vector per sample; false keeps images as channels x height x width"
    )

    @field_validator("centre", mode="before")
    @classmethod
    def _is_number(cls, centre: Any) -> Any:
        if not isinstance(centre, (bool, int, float)) or not math.isfinite(centre):
            raise ValueError("give true, false or a finite number")
        return centre

    @field_validator("standardise")
    @classmethod
    def _is_wanted(cls, standardise: bool | None) -> bool | None:
        # Not wanted is not said: so data that are not standardised keep the identity of earlier versions.
        return standardise or None

    @model_validator(mode="after")
    def _scale_once(self) -> Self:
        if self.standardise and self.centre is not True:
            raise ValueError("standardise subtracts the mean of every feature itself; leave out centre")
        return self

    @property
    def is_standardised(self) -> bool:
        """See `DataConfig.is_standardised`."""
        return self.standardise is True


class SyntheticConfig(PreparedConfig):
    """Data drawn afresh for every seed."""

    is_synthetic: ClassVar = True

    n_samples: PositiveInt = Field(default=1000, description=_N_SAMPLES)
    n_heldout: PositiveInt = Field(default=1000, description=_N_HELDOUT)
    input_dim: PositiveInt = Field(default=100, description="dimension d")


class GaussConfig(SyntheticConfig):
    """Standard normal inputs."""

    name: Literal["gauss"] = Field(default="gauss", description="N(0, 1) inputs, random labels (NeurIPS24)")


class ShiftedGaussConfig(SyntheticConfig):
    """Normal inputs around a mean of each class."""

    name: Literal["shifted_gauss"] = Field(
        default="shifted_gauss", description="normal inputs around a mean of each class (NeurIPS24)"
    )
    shift: Annotated[float, Field(ge=0)] = Field(default=0.3, description="distance of each coordinate's mean from 0")


class CorrelatedConfig(SyntheticConfig):
    """Normal inputs with a part that all samples share."""

    name: Literal["correlated"] = Field(default="correlated", description="normal inputs that share a common part")
    rho: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="share of each input's variance that is common to all samples"
    )


class UniformConfig(SyntheticConfig):
    """Uniform inputs."""

    name: Literal["uniform"] = Field(default="uniform", description="uniform inputs, random labels (ICLR24)")


class RealConfig(PreparedConfig):
    """Images or the user's own samples."""

    classes: Annotated[tuple[str, ...] | None, BeforeValidator(_as_names)] = Field(
        default=None, description="classes to keep, by name or index, in this order; of two, the first is +1"
    )
    model_classes: Annotated[
        OutputsOfClasses | None,
        BeforeValidator(
            lambda value: value if value is None or isinstance(value, tuple) else outputs_of_classes(value)
        ),
        PlainSerializer(lambda value: value and {name: list(indices) for name, indices in value}),
    ] = Field(
        default=None,
        description="which output of your own network each class is, such as {cat = 281, dog = [151, 152]}; of several "
        "the log-sum-exp",
    )
    n_samples: PositiveInt | None = Field(default=None, description=_N_SAMPLES)
    n_heldout: PositiveInt | None = Field(default=None, description=_N_HELDOUT)

    @property
    def chosen_classes(self) -> tuple[str, ...] | None:
        """See `DataConfig.chosen_classes`."""
        return self.classes

    @field_validator("classes")
    @classmethod
    def _are_several(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(classes) < 2:
            raise ValueError("there is one class only; name at least two")
        if classes is not None and len(set(classes)) < len(classes):
            raise ValueError("a class is named twice; name each once")
        return classes


class SplitConfig(RealConfig):
    """Data that may have no held-out part of their own."""

    heldout_share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="share held out by a seeded draw where the data have no split of their own (0.2)"
    )


class DigitsConfig(SplitConfig):
    """Handwritten digits of 8 x 8 pixels, which come with scikit-learn."""

    name: Literal["digits"] = Field(default="digits", description="handwritten digits of 8 x 8 pixels, bundled")


class MNISTConfig(RealConfig):
    """MNIST."""

    name: Literal["mnist"] = Field(default="mnist", description="handwritten digits of 28 x 28 pixels")


class FashionMNISTConfig(RealConfig):
    """Fashion-MNIST."""

    name: Literal["fashion_mnist"] = Field(default="fashion_mnist", description="clothes of 28 x 28 pixels")


class CIFAR10Config(RealConfig):
    """CIFAR-10."""

    name: Literal["cifar10"] = Field(default="cifar10", description="colour images of 32 x 32 pixels")


class FromPathConfig(SplitConfig):
    """The user's own files, written ``folder:PATH`` or ``npz:PATH``."""

    name: str

    @classmethod
    def answers_to(cls, name: str) -> bool:
        """See `NamedVariants.answers_to`."""
        return name.partition(":")[0] == cls.tag.partition(":")[0]

    @field_validator("name")
    @classmethod
    def _has_path(cls, name: str) -> str:
        provider, _, path = name.partition(":")
        if not path:
            raise ValueError(f"{provider} needs a path; write {provider}:PATH")
        return name


class FolderConfig(FromPathConfig):
    """A folder of images, one folder for each class."""

    tag: ClassVar = "folder:PATH"

    name: str = Field(description="images in a folder for each class")
    skip_bad: bool = Field(default=False, description="go on without unreadable images, which are named")
    image_size: PositiveInt | None = Field(
        default=None, description="height and width to which every image is brought; needed if their sizes differ"
    )
    resize: Literal["crop", "squash", "pad"] | None = Field(
        default=None,
        description="how that is done: crop (the middle square, the default), squash, or pad (black, nothing lost)",
    )

    @field_validator("resize")
    @classmethod
    def _is_no_default(cls, resize: str | None) -> str | None:
        return None if resize == "crop" else resize

    @model_validator(mode="after")
    def _has_size(self) -> Self:
        if self.resize is not None and self.image_size is None:
            raise ValueError("resize says how images are brought to image_size; set image_size too")
        return self


class NpzConfig(FromPathConfig):
    """Arrays of NumPy."""

    tag: ClassVar = "npz:PATH"

    name: str = Field(description="arrays of NumPy")


class PythonConfig(DataConfig):
    """Data handed over as objects in Python."""

    is_listed: ClassVar = False

    name: Literal["python"] = Field(default="python", description="data handed over in Python")

    @classmethod
    def refusal(cls, key: str, keys: Keys) -> str:
        """Why a key is refused among these keys, and what to do."""
        if key in ("centre", "standardise", "flatten", "heldout_share", "model_classes"):
            there = f"give {key} to perturblearn.dataset_from"
        else:
            there = "prepare them there"
        return f"the key {key} does not apply to data handed over in Python; {there}"
