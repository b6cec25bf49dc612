"""What a network is."""

# Sections are frozen, which the type checker does not see: a variant may narrow the type of a field.
# pyright: reportIncompatibleVariableOverride=false
from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from perturblearn.config.section import IMPORT_PATH, PositiveInt
from perturblearn.config.values import Keys
from perturblearn.config.variants import NamedVariants

Slope = Annotated[float, Field(ge=0, lt=1, description="negative slope gamma of the leaky ReLU; above 0 for a limit")]
HiddenDim = Annotated[PositiveInt, Field(description="hidden units m of a layer")]
Width = Annotated[float, Field(gt=0, description="channels, as a multiple of the usual (wide_resnet: 10)")]
Normalise = Annotated[
    bool,
    Field(
        description="deep networks: inputs scaled inside to the data's mean and deviation per channel (the user's own: "
        "false)"
    ),
]


class ModelConfig(NamedVariants):
    """The network's parametrisation: a two-layer network of the papers, a deep network, or the user's own."""

    noun: ClassVar = "network"
    inert: ClassVar = {"hidden_dim": 100, "slope": 0.0}
    is_network: ClassVar[bool] = False
    """Whether this is a deep network or the user's own, trained by minibatches."""
    is_fitted: ClassVar[bool] = False
    """Whether this is a learner of scikit-learn, which is fitted at once and has no gradients."""
    is_convolutional: ClassVar[bool] = False
    """Whether this is one of our own networks of images, which run in torch's channels-last format."""

    @classmethod
    def variants(cls) -> tuple[type[ModelConfig], ...]:
        """The variants, the default first."""
        return (*TrainedTwoLayerConfig.variants(), LimitConfig, *NetworkConfig.variants())

    @classmethod
    def label(cls, keys: Keys) -> str:
        """As a sentence calls it."""
        return f"the model {keys.get('name', cls.tag)}"


class TwoLayerModelConfig(ModelConfig):
    """Networks of the theory: one hidden layer and a fixed readout."""

    has_bias: ClassVar[bool] = False
    """Whether its units have a bias."""

    slope: Slope = 0.0

    @property
    def units(self) -> int:
        """Hidden units."""
        return 2  # a limit has two directions


class TrainedTwoLayerConfig(TwoLayerModelConfig):
    """Two-layer networks that are trained full batch."""

    hidden_dim: HiddenDim = 100

    @classmethod
    def variants(cls) -> tuple[type[TrainedTwoLayerConfig], ...]:
        """The variants, the default first."""
        return (TwoLayerConfig, OneHiddenConfig)

    @property
    def units(self) -> int:
        """Hidden units."""
        return self.hidden_dim


class TwoLayerConfig(TrainedTwoLayerConfig):
    """The network of NeurIPS24."""

    has_bias: ClassVar = True

    name: Literal["two_layer"] = Field(default="two_layer", description="bias, Gaussian readout (NeurIPS24)")


class OneHiddenConfig(TrainedTwoLayerConfig):
    """The network of ICLR24."""

    name: Literal["one_hidden"] = Field(default="one_hidden", description="no bias, readout ±1/sqrt(m) (ICLR24)")

    @model_validator(mode="after")
    def _halves(self) -> Self:
        if self.hidden_dim % 2:
            raise ValueError(
                f"hidden_dim = {self.hidden_dim} is odd, but one_hidden has as many positive as negative units; "
                "choose an even number"
            )
        return self


class LimitConfig(TwoLayerModelConfig):
    """Where long training of one_hidden ends."""

    name: Literal["limit"] = Field(
        default="limit", description="where long training of one_hidden ends, without training"
    )
    method: Literal["two_direction", "linear"] = Field(
        default="two_direction", description="two_direction, or linear (ICLR24's linear boundary)"
    )
    softness: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="margins may be missed at a price, which falls as this grows; for samples that two "
        "directions do not separate",
    )

    @model_validator(mode="after")
    def _has_two_sides(self) -> Self:
        if self.slope == 0:
            raise ValueError("slope = 0, but a limit needs units that carry a signal on both sides; choose 0.01")
        if self.softness is not None and self.method == "linear":
            raise ValueError("the key softness does not apply to the method linear; remove it")
        return self


class NetworkConfig(ModelConfig):
    """Deep networks and the user's own."""

    is_network: ClassVar = True

    normalise: Normalise = True
    checkpoint: str | None = Field(
        default=None, description="deep networks: file of the first weights, safetensors or a state dict of torch.save"
    )
    auxiliary: PositiveInt | None = Field(
        default=None, description="deep networks: outputs besides those of the classes, which no label is about (none)"
    )

    @classmethod
    def variants(cls) -> tuple[type[NetworkConfig], ...]:
        """The variants, the default first."""
        return (
            MLPConfig,
            ConvNetConfig,
            WideResNetConfig,
            ResNet18Config,
            ResNet9Config,
            *EstimatorConfig.variants(),
            OwnNetworkConfig,
        )


class MLPConfig(NetworkConfig):
    """A multilayer perceptron."""

    name: Literal["mlp"] = Field(default="mlp", description="fully connected")
    hidden_dim: HiddenDim = 100
    slope: Slope = 0.0
    depth: PositiveInt = Field(default=2, description="hidden layers (2)")
    # Without a value where torch's own holds, so that networks from before this key keep their identity.
    parametrization: Literal["ntk"] | None = Field(
        default=None,
        description="ntk: weights N(0, 1) times sigma_w / sqrt(fan-in), so that wide networks follow "
        "theory.DeepKernel (torch's)",
    )
    sigma_w: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="ntk: factor of the weights (sqrt(2 / (1 + slope^2)), which keeps lengths)"
    )
    sigma_b: Annotated[float, Field(ge=0)] | None = Field(default=None, description="ntk: factor of the biases (0.1)")

    @model_validator(mode="after")
    def _has_factors(self) -> Self:
        for key in ("sigma_w", "sigma_b"):
            if self.parametrization is None and getattr(self, key) is not None:
                raise ValueError(
                    f"{key} = {getattr(self, key):g} is a factor of the ntk parametrization, which is not asked for; "
                    "set parametrization = 'ntk', or remove it"
                )
        return self


class ConvNetConfig(NetworkConfig):
    """The ConvNet of ICLR24."""

    is_convolutional: ClassVar = True

    name: Literal["convnet"] = Field(default="convnet", description="small network of images (ICLR24)")
    depth: PositiveInt = Field(default=2, description="stages, each doubling the channels (2)")
    width: Width = 1.0


class WideResNetConfig(NetworkConfig):
    """The wide residual network of ICLR24."""

    is_convolutional: ClassVar = True

    name: Literal["wide_resnet"] = Field(default="wide_resnet", description="wide residual network of images (ICLR24)")
    depth: PositiveInt = Field(default=28, description="layers, 6 n + 4 (28)")
    width: Width = 10
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.3, description="share of activations dropped in training"
    )

    @model_validator(mode="after")
    def _is_made_of_blocks(self) -> Self:
        if self.depth < 10 or self.depth % 6 != 4:
            raise ValueError(
                f"depth = {self.depth}, but wide_resnet has 6 n + 4 layers; choose 10, 16, 22, 28 and so on"
            )
        if self.width != int(self.width):
            raise ValueError(
                f"width = {self.width:g}, but wide_resnet is widened by a whole number; choose 1, 2 and so on"
            )
        return self


class ResNet18Config(NetworkConfig):
    """ResNet-18 for small images."""

    is_convolutional: ClassVar = True

    name: Literal["resnet18"] = Field(default="resnet18", description="residual network of small images")
    width: Width = 1.0


class ResNet9Config(NetworkConfig):
    """The nine-layer residual network that learns small images fast."""

    is_convolutional: ClassVar = True

    name: Literal["resnet9"] = Field(default="resnet9", description="residual network of small images that learns fast")
    width: Width = 1.0


class EstimatorConfig(NetworkConfig):
    """Learners of scikit-learn, for g alone."""

    is_fitted: ClassVar = True

    @classmethod
    def variants(cls) -> tuple[type[EstimatorConfig], ...]:
        """The variants, the default first."""
        return (NearestNeighboursConfig, LogisticRegressionConfig, GradientBoostingConfig)

    @field_validator("checkpoint", "auxiliary")
    @classmethod
    def _is_no_network(cls, value: object, info: ValidationInfo) -> None:
        if value is not None:
            raise ValueError(f"the key {info.field_name} applies to networks, and {cls.tag} is none; remove it")


class NearestNeighboursConfig(EstimatorConfig):
    """The vote of the nearest samples."""

    name: Literal["knn"] = Field(default="knn", description="g alone: vote of the nearest samples (scikit-learn)")
    neighbours: PositiveInt = Field(default=5, description="samples that vote")


class LogisticRegressionConfig(EstimatorConfig):
    """A linear classifier, fitted to the end."""

    name: Literal["logistic_regression"] = Field(
        default="logistic_regression", description="g alone: linear, fitted to the end (scikit-learn)"
    )
    penalty: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="L2 penalty on its weights, as against the sum of the losses"
    )


class GradientBoostingConfig(EstimatorConfig):
    """Trees, each fitted to what those before it leave."""

    name: Literal["gradient_boosting"] = Field(
        default="gradient_boosting", description="g alone: trees by gradient boosting (scikit-learn)"
    )
    trees: PositiveInt = Field(default=100, description="trees, for each class where there are more than two")


class OwnNetworkConfig(NetworkConfig):
    """The user's own network."""

    tag: ClassVar = "package.module:factory"
    is_own: ClassVar = True

    name: str = Field(description="the user's own")
    normalise: Normalise = False

    @classmethod
    def answers_to(cls, name: str) -> bool:
        """See `NamedVariants.answers_to`."""
        return IMPORT_PATH.fullmatch(name) is not None


NETWORKS = tuple(each.tag for each in NetworkConfig.variants() if not each.is_own)
"""Deep networks by their names."""
