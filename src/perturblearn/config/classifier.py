"""How a classifier is trained."""

# Sections are frozen, which the type checker does not see: a variant may narrow the type of a field.
# pyright: reportIncompatibleVariableOverride=false
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

from perturblearn.config.adversary import AdversaryConfig, NoisyStepConfig
from perturblearn.config.model import (
    EstimatorConfig,
    LimitConfig,
    ModelConfig,
    NetworkConfig,
    TrainedTwoLayerConfig,
    TwoLayerConfig,
)
from perturblearn.config.section import LearningRates, PositiveInt, as_tuple, none_for
from perturblearn.config.values import Keys
from perturblearn.config.variants import Variants, is_mapping

LossName = Literal["identity", "logistic", "exponential"]
_LOSS = (
    "loss on the margin s = y f(x): -s, log(1 + exp(-s)) or exp(-s); with more than two classes logistic is the "
    "cross-entropy"
)
Loss = Annotated[LossName, Field(description=_LOSS)]
Rates = Annotated[LearningRates, Field(description="learning rate; a list is a selection grid (sgd: 0.01)")]
Epochs = Annotated[int, Field(ge=1, le=10**12, description="passes over the training set (sgd: 20)")]
Momentum = Annotated[float, Field(ge=0, lt=1, description="heavy-ball momentum, Nesterov's for sgd")]
_SCHEDULE = (
    "learning rate over time. plateau: divided by 10 when the loss stops improving; constant; sgd also: one_cycle, "
    "cosine, and linear (to 0, after warmup_epochs)"
)
_PRODUCTS = (
    "products in the precision of dtype, in bfloat16 with float32 sums and states, or, slower, emulated in float16 "
    "with a loss scale, as NeurIPS24's runs had them"
)
Start = Annotated[
    Literal["standard"] | None,
    Field(description="standard: g's first weights are those that f had before its training (drawn anew)"),
]
_ADVERSARIAL = "descent or sgd on inputs that an inner attack has moved away from their labels (adversary)"
Products = Annotated[
    Literal["exact", "bfloat16"],
    Field(description="products in the precision of dtype, or in bfloat16 with float32 sums and states"),
]


class ClassifierConfig(Variants):
    """How a classifier is made and trained: full batch (descent, flow), by minibatches (sgd), or not at all."""

    inert: ClassVar = {
        "training": "descent",
        "loss": "logistic",
        "lr": (0.5,),
        "epochs": 300,
        "momentum": 0.9,
        "schedule": "plateau",
        "augmentation": (),
        "form": "auto",
        "products": "exact",
    }
    trains: ClassVar[type[ModelConfig]] = ModelConfig
    """The networks that are trained in this way."""

    model: ModelConfig

    if TYPE_CHECKING:  # keys of most variants, constants of the others
        loss: LossName
        lr: tuple[float, ...]

    @property
    def is_bfloat16(self) -> bool:
        """Whether products are in bfloat16."""
        return False

    @property
    def is_adversarial(self) -> bool:
        """Whether an inner attack moves the inputs before every step."""
        return False

    @property
    def relative_work(self) -> float:
        """About how many epochs it costs, for the time that is left of a run."""
        return 0.0

    def starts_as(self, role: str) -> str:
        """Whose first weights a classifier of this role has: its own, unless it starts as f did."""
        return getattr(self, "start", None) or role

    def with_rate(self, lr: float) -> Self:
        """The same with one learning rate, where anything is learned."""
        return self.model_copy(update={"lr": (lr,)}) if "lr" in type(self).model_fields else self

    @classmethod
    def variants(cls) -> tuple[type[ClassifierConfig], ...]:
        """The variants, the default first."""
        return (
            DescentConfig,
            FlowConfig,
            AdversarialTwoLayerConfig,
            SGDConfig,
            AdversarialConfig,
            LinearisedConfig,
            UntrainedConfig,
            FittedConfig,
            LimitClassifierConfig,
        )

    @classmethod
    def variant_for(cls, keys: Keys) -> type[ClassifierConfig]:
        """The way of training that is named, or else the one that is usual for the model."""
        model = _model_of(keys) or TwoLayerConfig
        if issubclass(model, LimitConfig):
            return LimitClassifierConfig
        if model.is_fitted:
            return FittedConfig
        usual = SGDConfig if model.is_network else DescentConfig
        named = [each for each in cls.variants() if each.tag == keys.get("training")]
        # Adversarial training has a variant for each kind of network.
        return next((each for each in named if issubclass(model, each.trains)), next(iter(named), usual))

    @classmethod
    def label(cls, keys: Keys) -> str:
        """As a sentence calls it."""
        return f"training = {cls.tag!r}"

    @model_validator(mode="before")
    @classmethod
    def _trains_such_networks(cls, values: Any) -> Any:
        if not is_mapping(values):
            return values
        model = _model_of(values)
        if model is None:  # what is wrong with the model comes first: from it follows which keys apply
            return {"model": values["model"]}
        if issubclass(model, cls.trains):
            return values
        kind, instead = ("two-layer", "sgd") if model.is_network else ("deep", "descent, or another model")
        raise ValueError(f"{cls.label(values)} applies to {kind} networks, not to {model.tag}; choose {instead}")

    @field_validator("training", mode="before", check_fields=False)
    @classmethod
    def _is_known(cls, training: Any) -> Any:
        if training != cls.tag:
            ways = dict.fromkeys(each.tag for each in cls.variants() if "training" in each.model_fields)
            known = [f"'{way}'" for way in ways]
            raise PydanticKnownError("literal_error", {"expected": f"{', '.join(known[:-1])} or {known[-1]}"})
        return training


def _check_warmup(adversary: AdversaryConfig, epochs: int) -> None:
    if adversary.warmup_epochs >= epochs:
        raise ValueError(
            f"adversary.warmup_epochs = {adversary.warmup_epochs} leaves none of {epochs} epochs at the full epsilon; "
            f"choose at most {epochs - 1}"
        )


class FullBatchConfig(ClassifierConfig):
    """Two-layer networks that see all samples in every step."""

    trains: ClassVar = TrainedTwoLayerConfig

    training: str
    loss: Loss = "logistic"
    lr: Rates = (0.5,)
    epochs: Epochs = 300
    momentum: Momentum = 0.9
    start: Start = None
    # Defaults are constructed, not validated: that would build their schemas when this is imported.
    model: TrainedTwoLayerConfig = TwoLayerConfig.model_construct()

    @property
    def steps(self) -> int:
        """Steps over all samples, about."""
        return self.epochs

    @property
    def relative_work(self) -> float:
        """See `ClassifierConfig.relative_work`."""
        return float(self.steps)


class DescentConfig(FullBatchConfig):
    """Full-batch gradient descent, epoch by epoch."""

    tag: ClassVar = "descent"

    training: Literal["descent"] = Field(default="descent", description="full batch, epoch by epoch")
    schedule: Literal["plateau", "constant"] = Field(default="plateau", description=_SCHEDULE)
    form: Literal["auto", "plain", "row_space", "low_rank", "gram"] = Field(
        default="auto",
        description="where weights live during training; changes results by rounding alone. auto: the quickest by the "
        "cost model; plain, row_space, gram, low_rank (bare one-step perturbations in l2)",
    )
    products: Annotated[Literal["exact", "bfloat16", "float16"], Field(description=_PRODUCTS)] = "exact"

    @property
    def is_bfloat16(self) -> bool:
        """Whether products are in bfloat16."""
        return self.products == "bfloat16"

    @property
    def is_float16(self) -> bool:
        """Whether training is emulated as mixed precision does it in float16."""
        return self.products == "float16"

    @model_validator(mode="after")
    def _is_emulated_plainly(self) -> Self:
        if self.is_float16 and self.form not in ("auto", "plain"):
            raise ValueError(
                f"products = 'float16' rounds every product of the plain form, but form = {self.form!r}; choose auto"
            )
        return self

    @property
    def at_any_time(self) -> Self:
        """What it is apart from its end: trainings that are equal in this are one training at several times."""
        return self.model_copy(update={"epochs": 1})


class FlowConfig(FullBatchConfig):
    """Gradient flow over the time of the same epochs."""

    tag: ClassVar = "flow"

    training: Literal["flow"] = Field(
        default="flow", description="gradient flow over the time of the same epochs, in few steps"
    )
    # The flow follows a loss that dies out, in a time that is rescaled by it.
    loss: Annotated[Literal["logistic", "exponential"], Field(description=_LOSS)] = "logistic"
    target_loss: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="stop where the mean loss reaches this, if the epochs' time is not over before"
    )
    flow_step: Annotated[float, Field(gt=0)] = Field(default=0.1, description="largest change of a margin in one step")
    exact_epochs: Annotated[int, Field(ge=0)] = Field(default=0, description="first epochs done by descent")

    @property
    def steps(self) -> int:
        """See `FullBatchConfig.steps`: a flow takes some 200, however long its time."""
        return 200 + self.exact_epochs


class AdversarialTwoLayerConfig(FullBatchConfig):
    """Full-batch gradient descent on inputs that an inner attack moves in every epoch."""

    tag: ClassVar = "adversarial"

    training: Literal["adversarial"] = Field(default="adversarial", description=_ADVERSARIAL)
    schedule: Literal["plateau", "constant"] = Field(default="plateau", description=_SCHEDULE)
    adversary: AdversaryConfig = NoisyStepConfig.model_construct()

    @model_validator(mode="after")
    def _reaches_its_epsilon(self) -> Self:
        _check_warmup(self.adversary, self.epochs)
        return self

    @property
    def is_adversarial(self) -> bool:
        """See `ClassifierConfig.is_adversarial`."""
        return True

    @property
    def steps(self) -> int:
        """See `FullBatchConfig.steps`: each of the attack's goes forward and back as the training's own."""
        return self.epochs * (1 + self.adversary.n_steps)


class SGDConfig(ClassifierConfig):
    """Deep networks on batches of shuffled samples."""

    tag: ClassVar = "sgd"
    trains: ClassVar = NetworkConfig

    training: Literal["sgd"] = Field(default="sgd", description="minibatches (deep networks, whose default it is)")
    loss: Loss = "logistic"
    lr: Rates = (0.01,)
    epochs: Epochs = 20
    momentum: Momentum = 0.9
    schedule: Literal["plateau", "constant", "one_cycle", "cosine", "linear"] = Field(
        default="plateau", description=_SCHEDULE
    )
    products: Products = "exact"
    batch_size: PositiveInt = Field(default=128, description="samples per step")
    weight_decay: Annotated[float, Field(ge=0)] = Field(default=5e-4, description="L2 penalty")
    augmentation: Annotated[tuple[Literal["crop", "flip"], ...], BeforeValidator(as_tuple)] = Field(
        default=(), description="of images: crop (padded) and flip (left to right), drawn for every batch"
    )
    # None where a key asks for nothing, so that trainings from before it keep their identity.
    crop_padding: Annotated[PositiveInt | None, none_for(4)] = Field(
        default=None, description="pixels that a crop adds on each side, and by which it can move the image (4)"
    )
    crop_fill: Annotated[Literal["black", "reflect"] | None, none_for("black")] = Field(
        default=None, description="what these pixels are: black, or reflect, the image mirrored (black)"
    )
    warmup_epochs: Annotated[PositiveInt | None, none_for(0)] = Field(
        default=None, description="epochs in which the rate of the schedule linear rises from 0 (0)"
    )
    nesterov: Annotated[bool | None, none_for(True)] = Field(
        default=None, description="false: heavy-ball momentum instead of Nesterov's (true)"
    )
    label_smoothing: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, none_for(0)] = Field(
        default=None, description="share of every label that is spread evenly over all classes (0)"
    )
    ema_decay: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, none_for(0)] = Field(
        default=None,
        description="the result is the moving average of weights and running statistics, of which each step leaves "
        "this share, such as 0.99 (0: the last weights)",
    )
    start: Start = None
    soft_loss: Annotated[Literal["cross_entropy", "squared"] | None, none_for("cross_entropy")] = Field(
        default=None,
        description="targets soft and auxiliary: cross_entropy, or squared difference (cross_entropy)",
    )
    temperature: Annotated[Annotated[float, Field(gt=0)] | None, none_for(1)] = Field(
        default=None, description="cross_entropy of soft targets: what outputs of f and g are divided by (1)"
    )
    model: NetworkConfig

    @property
    def is_bfloat16(self) -> bool:
        """Whether products are in bfloat16."""
        return self.products == "bfloat16"

    @property
    def relative_work(self) -> float:
        """See `ClassifierConfig.relative_work`: a step goes forward, and backward through weights and inputs."""
        return 3.0 * self.epochs

    @model_validator(mode="after")
    def _has_what_its_keys_change(self) -> Self:
        for key in ("crop_padding", "crop_fill"):
            if getattr(self, key) is not None and "crop" not in self.augmentation:
                raise ValueError(f"the key {key} applies to augmentation with crop; add crop, or remove it")
        if self.nesterov is False and self.momentum == 0:
            raise ValueError("nesterov = false says how momentum is applied, but momentum = 0; remove one of them")
        if self.label_smoothing is not None and self.loss != "logistic":
            raise ValueError(f"the key label_smoothing applies to the loss logistic, not to {self.loss}; remove it")
        return self

    @model_validator(mode="after")
    def _leaves_epochs_after_the_warm_up(self) -> Self:
        if self.warmup_epochs is None:
            return self
        if self.schedule != "linear":
            raise ValueError(
                f"the key warmup_epochs applies to the schedule linear, not to {self.schedule}; choose linear, or "
                "remove it"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs = {self.warmup_epochs} leaves none of {self.epochs} epochs in which the rate falls; "
                f"choose at most {self.epochs - 1}"
            )
        return self


class AdversarialConfig(SGDConfig):
    """Deep networks on batches of shuffled samples that an inner attack moves in every step."""

    tag: ClassVar = "adversarial"

    training: Literal["adversarial"] = Field(default="adversarial", description=_ADVERSARIAL)
    adversary: AdversaryConfig = NoisyStepConfig.model_construct()

    @model_validator(mode="after")
    def _reaches_its_epsilon(self) -> Self:
        _check_warmup(self.adversary, self.epochs)
        return self

    @property
    def is_adversarial(self) -> bool:
        """See `ClassifierConfig.is_adversarial`."""
        return True

    @property
    def relative_work(self) -> float:
        """See `ClassifierConfig.relative_work`: a step of the attack goes forward, and backward through inputs."""
        return super().relative_work + 2.0 * self.epochs * self.adversary.n_steps


class LinearisedConfig(SGDConfig):
    """Deep networks replaced by their linearisation at the start, on batches of shuffled samples."""

    tag: ClassVar = "linearised"

    training: Literal["linearised"] = Field(
        default="linearised",
        description="minibatches on the network's linearisation at its start, to which weight decay pulls back",
    )

    @property
    def relative_work(self) -> float:
        """See `ClassifierConfig.relative_work`: derivatives along the step come on top."""
        return 2 * super().relative_work


class _NotTrained(ClassifierConfig):
    """Classifiers without a learning rate: the grid of rates has one place for them, and no number there counts."""

    lr: ClassVar = (0.5,)


class UntrainedConfig(_NotTrained):
    """Deep networks as they stand."""

    tag: ClassVar = "none"
    trains: ClassVar = NetworkConfig
    loss: ClassVar = "logistic"

    training: Literal["none"] = Field(default="none", description="as the checkpoint or the user made it")
    model: NetworkConfig


class FittedConfig(_NotTrained):
    """Learners of scikit-learn, fitted to all samples at once."""

    tag: ClassVar = "fit"
    trains: ClassVar = EstimatorConfig
    loss: ClassVar = "logistic"

    model: EstimatorConfig

    @classmethod
    def refusal(cls, key: str, keys: Keys) -> str:
        """Why a key is refused among these keys, and what to do."""
        return f"the key {key} does not apply to a learner of scikit-learn, which is fitted at once; remove it"


class LimitClassifierConfig(_NotTrained):
    """The end of infinitely long training, which is computed without any."""

    tag: ClassVar = "limit"
    trains: ClassVar = LimitConfig

    loss: Loss = "logistic"
    model: LimitConfig

    @property
    def relative_work(self) -> float:
        """See `ClassifierConfig.relative_work`."""
        return 20.0

    @classmethod
    def refusal(cls, key: str, keys: Keys) -> str:
        """Why a key is refused among these keys, and what to do."""
        return f"the key {key} does not apply to a limit, which is not trained; remove it"


def _model_of(keys: Keys) -> type[ModelConfig] | None:
    """The model that a section's keys ask for; None where they name none that there is."""
    model = keys.get("model", {})
    if isinstance(model, ModelConfig):
        return type(model)
    if not is_mapping(model):
        return None
    return ModelConfig.named(model["name"]) if "name" in model else TwoLayerConfig
