"""How a classifier is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from perturblearn.config.model import TWO_LAYER, ModelConfig
from perturblearn.config.section import LearningRates, PositiveInt, Section, as_tuple


class ClassifierConfig(Section):
    """How a classifier is made and trained: full batch (descent, flow), by minibatches (sgd), or not at all."""

    training: Literal["descent", "flow", "sgd", "none"] = Field(
        default="descent",
        description="descent: full batch, epoch by epoch; flow: gradient flow over the time of the same epochs, in few "
        "steps; sgd: minibatches (deep networks, whose default it is); none: as the checkpoint or the user made it",
    )

    loss: Literal["identity", "logistic", "exponential"] = Field(
        default="logistic",
        description="loss on the margin s = y f(x): -s, log(1 + exp(-s)) or exp(-s); with more than two classes "
        "logistic is the cross-entropy",
    )
    lr: LearningRates = Field(default=(0.5,), description="learning rate; a list is a selection grid (sgd: 0.01)")
    epochs: PositiveInt = Field(default=300, description="passes over the training set (sgd: 20)")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.9, description="heavy-ball momentum, Nesterov's for sgd"
    )
    schedule: Literal["plateau", "constant", "one_cycle", "cosine"] = Field(
        default="plateau",
        description="learning rate over time. plateau: divided by 10 when the loss stops improving; constant; sgd "
        "also: one_cycle, cosine",
    )
    batch_size: PositiveInt | None = Field(default=None, description="sgd: samples per step (128)")
    weight_decay: Annotated[float, Field(ge=0)] | None = Field(default=None, description="sgd: L2 penalty (5e-4)")
    augmentation: Annotated[tuple[Literal["crop", "flip"], ...], BeforeValidator(as_tuple)] = Field(
        default=(), description="sgd on images: crop (padded by 4) and flip (left to right), drawn for every batch"
    )
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
        description="products of descent and sgd: in the precision of dtype, or bfloat16 with float32 sums and states",
    )
    model: ModelConfig = Field(default_factory=lambda: ModelConfig())

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_training(cls, values: Any) -> Any:
        """Deep networks are trained by minibatches unless something else is asked for; sgd has defaults of its own."""
        if not isinstance(values, Mapping):
            return values
        model = values.get("model")
        name = model.get("name") if isinstance(model, Mapping) else getattr(model, "name", None)
        is_network = isinstance(name, str) and name not in TWO_LAYER
        if values.get("training", "sgd" if is_network else None) == "sgd":
            return {"training": "sgd", "lr": 0.01, "epochs": 20, **values}
        return values

    @model_validator(mode="after")
    def _applicable(self) -> ClassifierConfig:
        fields = type(self).model_fields
        if self.training in ("sgd", "none") and not self.model.is_network:
            raise ValueError(
                f"training = {self.training!r} applies to deep networks, not to {self.model.name}; choose descent, or "
                "another model"
            )
        if self.training not in ("sgd", "none") and self.model.is_network:
            raise ValueError(
                f"training = {self.training!r} applies to two-layer networks, not to {self.model.name}; choose sgd"
            )
        if self.training == "none":
            for key in _TRAINING_KEYS:
                if getattr(self, key) != fields[key].default:
                    raise ValueError(f"the key {key} does not apply to training = 'none'; remove it")
        if self.training != "sgd":
            for key in ("batch_size", "weight_decay", "augmentation"):
                if getattr(self, key) != fields[key].default:
                    raise ValueError(f"the key {key} applies to training = 'sgd' alone; remove it")
            if self.schedule in ("one_cycle", "cosine"):
                raise ValueError(f"schedule = {self.schedule!r} applies to training = 'sgd' alone; choose plateau")
        if self.training != "descent" or self.model.name == "limit":
            if self.form != fields["form"].default:
                raise ValueError("the key form applies to training = 'descent' alone; remove it")
            if self.products != fields["products"].default and self.training != "sgd":
                raise ValueError("the key products applies to training = 'descent' and 'sgd' alone; remove it")
        if self.training == "flow" and self.loss == "identity":
            raise ValueError("training = 'flow' follows a loss that dies out; choose the exponential or logistic loss")
        if self.training == "flow" and self.schedule != "plateau":
            raise ValueError("the key schedule applies to training = 'descent' and 'sgd' alone; remove it")
        if self.training != "flow":
            for key in ("target_loss", "flow_step", "exact_epochs"):
                if getattr(self, key) is not None:
                    raise ValueError(f"the key {key} applies to training = 'flow' alone; remove it")
        if self.model.name == "limit":
            for key in ("training", "lr", "epochs", "momentum", "schedule"):
                if getattr(self, key) != fields[key].default:
                    raise ValueError(f"the key {key} does not apply to a limit, which is not trained; remove it")
        return self


_TRAINING_KEYS = (
    "loss",
    "lr",
    "epochs",
    "momentum",
    "schedule",
    "batch_size",
    "weight_decay",
    "augmentation",
    "products",
)
