"""What a network is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from perturblearn.config.section import IMPORT_PATH, PositiveInt, Section

TWO_LAYER = ("two_layer", "one_hidden", "limit")
"""Networks of the theory, trained full batch or taken to their limit."""
NETWORKS = ("mlp", "convnet", "wide_resnet", "resnet18")
"""Deep networks, trained by minibatches."""


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
    softness: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="limit, two_direction: margins may be missed at a price, which falls as this grows; for samples "
        "that two directions do not separate",
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
            if self.softness is not None and self.method == "linear":
                raise ValueError("the key softness does not apply to the method linear; remove it")
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
    "softness": ("limit",),
    "depth": ("mlp", "convnet", "wide_resnet"),
    "width": ("convnet", "wide_resnet", "resnet18"),
    "dropout": ("wide_resnet",),
    "normalise": (*NETWORKS, "own"),
    "checkpoint": (*NETWORKS, "own"),
}
"""Which models a key applies to; elsewhere it must keep its default."""
