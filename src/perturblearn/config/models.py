"""An experiment as a tree of small frozen models, one field per quantity of the papers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
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
TWO_LAYER = ("two_layer", "one_hidden", "limit")
"""Networks of the theory, trained full batch or taken to their limit."""
NETWORKS = ("mlp", "convnet", "wide_resnet", "resnet18")
"""Deep networks, trained by minibatches."""
ATTACKS = ("one_step", "radial_pgd", "pgd", "minimum_norm", "geometry")
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z0-9_]\w*")
"""The user's own code, ``package.module:name``."""


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
    """The network's parametrisation: a two-layer network of the papers, a deep network, or the user's own."""

    name: str = Field(
        default="two_layer",
        description="two_layer: bias, Gaussian readout (NeurIPS24); one_hidden: no bias, readout +-1/sqrt(m) (ICLR24); "
        "limit: where long training of one_hidden ends, without training; mlp; convnet, wide_resnet: deep networks of "
        "ICLR24; resnet18; or the user's own as package.module:factory",
    )
    hidden_dim: PositiveInt = Field(
        default=100, description="hidden units m of two_layer, one_hidden, and each mlp layer"
    )
    slope: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="negative slope gamma of the leaky ReLU (not of image networks); above 0 for a limit"
    )
    method: Literal["two_direction", "linear"] | None = Field(
        default=None,
        description="the limit's picture: two_direction (the default) or linear (ICLR24's linear boundary)",
    )
    depth: PositiveInt | None = Field(
        default=None,
        description="mlp: hidden layers (2); convnet: stages, each doubling the channels (2); wide_resnet: layers, "
        "6 n + 4 (28)",
    )
    width: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="channels, as a multiple of the usual: convnet (1), wide_resnet (10), resnet18 (1)"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None, description="wide_resnet: share of activations dropped in training (0.3)"
    )
    normalise: bool | None = Field(
        default=None,
        description="deep networks: inputs scaled inside to the data's mean and deviation per channel (true; the "
        "user's own: false)",
    )
    checkpoint: str | None = Field(
        default=None,
        description="deep networks: file of the first weights, safetensors or a state dict of torch.save",
    )

    @property
    def is_network(self) -> bool:
        """Whether this is a deep network or the user's own, trained by minibatches."""
        return self.name not in TWO_LAYER

    @property
    def is_own(self) -> bool:
        """Whether this is the user's own network."""
        return ":" in self.name

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*TWO_LAYER, *NETWORKS) and not IMPORT_PATH.fullmatch(name):
            known = ", ".join((*TWO_LAYER, *NETWORKS))
            raise ValueError(f"there is no such network; choose {known}, or name your own as package.module:factory")
        return name

    @model_validator(mode="after")
    def _applicable(self) -> ModelConfig:
        fields = type(self).model_fields
        if self.name == "limit":
            if self.slope == 0:
                raise ValueError("slope = 0, but a limit needs units that carry a signal on both sides; choose 0.01")
            if self.hidden_dim != fields["hidden_dim"].default:
                raise ValueError(
                    f"hidden_dim = {self.hidden_dim} does not apply to a limit, which has two directions; remove it"
                )
        for key, names in _MODEL_KEYS.items():
            applies = self.name in names or ("own" in names and self.is_own)
            if not applies and getattr(self, key) != fields[key].default:
                raise ValueError(f"the key {key} does not apply to the model {self.name}; remove it")
        if self.name == "wide_resnet":
            if self.depth is not None and (self.depth < 10 or self.depth % 6 != 4):
                raise ValueError(
                    f"depth = {self.depth}, but wide_resnet has 6 n + 4 layers; choose 10, 16, 22, 28 and so on"
                )
            if self.width is not None and self.width != int(self.width):
                raise ValueError(
                    f"width = {self.width:g}, but wide_resnet is widened by a whole number; choose 1, 2 and so on"
                )
        return self

    @model_validator(mode="after")
    def _halves(self) -> ModelConfig:
        if self.name == "one_hidden" and self.hidden_dim % 2:
            raise ValueError(
                f"hidden_dim = {self.hidden_dim} is odd, but one_hidden has as many positive as negative units; "
                "choose an even number"
            )
        return self


_MODEL_KEYS = {
    "hidden_dim": ("two_layer", "one_hidden", "limit", "mlp"),
    "slope": ("two_layer", "one_hidden", "limit", "mlp"),
    "method": ("limit",),
    "depth": ("mlp", "convnet", "wide_resnet"),
    "width": ("convnet", "wide_resnet", "resnet18"),
    "dropout": ("wide_resnet",),
    "normalise": (*NETWORKS, "own"),
    "checkpoint": (*NETWORKS, "own"),
}
"""Which models a key applies to; elsewhere it must keep its default."""


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
    augmentation: Annotated[tuple[Literal["crop", "flip"], ...], BeforeValidator(_as_tuple)] = Field(
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
    linear_probe: bool | None = Field(
        default=None,
        description="what a linear classifier learns from the perturbed set (true where g is trained by minibatches)",
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
    checkpoint_minutes: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="sgd: an interrupted training goes on from where it was so long ago at most"
    )
    checkpoint_epochs: PositiveInt | None = Field(
        default=None, description="sgd: or from the last multiple of so many epochs"
    )
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
    def _precision_known(self) -> ExperimentConfig:
        if self.attack.products == "bfloat16" and self.dtype != "float32":
            raise ValueError(
                f"attack.products = 'bfloat16' searches in a lower precision than float32, but dtype = {self.dtype!r}; "
                "choose float32, or exact products"
            )
        if self.perturbation.training == "none":
            raise ValueError(
                "perturbation.training = 'none' leaves g as it stands, so it would learn nothing from the perturbed "
                "set; choose sgd"
            )
        if self.measures.cosine_similarity and self.standard.model.is_network:
            raise ValueError(
                "measures.cosine_similarity = true compares perturbations with the prediction for wide two-layer "
                f"networks, but standard.model.name = {self.standard.model.name!r}; remove it"
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
