"""An experiment as a tree of small frozen models, one field per quantity of the papers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from perturblearn.config.attack import AttackConfig, GeometryConfig, OneStepConfig, RebuildConfig
from perturblearn.config.classifier import ClassifierConfig, DescentConfig, SGDConfig, UntrainedConfig
from perturblearn.config.data import DataConfig, DigitsConfig, SyntheticConfig
from perturblearn.config.mixing import MixingConfig
from perturblearn.config.model import LimitConfig
from perturblearn.config.section import PositiveInt, Section


class MeasuresConfig(Section):
    """What is measured besides accuracies and agreement."""

    cosine_similarity: bool = Field(
        default=False, description="cosine of perturbations with the prediction t_n (NeurIPS24); cost grows with N^2"
    )
    theory: bool = Field(
        default=False,
        description="every number of the comparison with theory; of deep networks kernel drift, distance from the "
        "linearisation, what g's kernel predicts, and the nearest class mean",
    )
    robust_leakage: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="L2 size against which a linear feature counts as robust: what a linear classifier of the "
        "perturbed set reaches with these features alone, with controls (Goh 2019), and g too (not measured)",
    )
    attribution: bool | None = Field(
        default=None,
        description="what the perturbations, and what their wrongly labelled sources, taught g, followed step by step; "
        "trains g twice more (true in run and learn where g can be followed and that takes seconds)",
    )
    attribution_inputs: PositiveInt = Field(
        default=300, description="held-out inputs whose outputs are attributed; the cost grows with them"
    )
    attribution_merged: PositiveInt | None = Field(
        default=None,
        description="steps that are split as one (2048 / batch_size, at most 8; 1 for a full batch): more cost less "
        "and follow the path less closely",
    )
    attribution_tolerance: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.008, description="share of what g has learned that the split may miss; a smaller one costs more"
    )


class ControlsConfig(Section):
    """Perturbation classifiers trained without the information under test."""

    draws: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=10, description="draws of each control per seed; 0 leaves them out"
    )
    linear_probe: bool | None = Field(
        default=None,
        description="what a linear classifier learns from the perturbed set (true where g is trained by minibatches)",
    )


MOST_SEEDS = 100_000
"""Each is a run of its own, held in memory."""


def _as_seeds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, list, tuple)):
        raise ValueError("give a number of seeds, or a list that names them")
    if value in ([], ()) or (isinstance(value, int) and value < 1):
        raise ValueError("at least one seed is needed: give a positive number or a list of seeds")
    if isinstance(value, int) and value > MOST_SEEDS:
        raise ValueError(f"there may be at most {MOST_SEEDS:,} seeds: give a smaller number, or a list that names them")
    return tuple(range(value)) if isinstance(value, int) else tuple(value)


@dataclass(frozen=True)
class _Script:
    """What a published script could do.

    Args:
        model: of both classifiers.
        data: that it drew.
        has_images: whether it could read images instead.
        sources: of the perturbed set; none where they were of the law of the data.
    """

    model: str
    data: tuple[str, ...]
    has_images: bool
    sources: tuple[str, ...] = ()


_SCRIPTS = {
    "neurips2024": _Script("two_layer", ("gauss", "shifted_gauss"), has_images=True, sources=("natural", "none")),
    "iclr2024": _Script("one_hidden", ("gauss", "uniform"), has_images=False),
}


class ExperimentConfig(Section):
    """Everything that fixes an experiment's numbers, and the device it runs on."""

    name: str = Field(default="digits", description="name of the run's folder")
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], BeforeValidator(_as_seeds)] = Field(
        default=(0, 1, 2), description="5 means 0, 1, 2, 3, 4; a list names them"
    )
    device: str = Field(default="cpu", description="cpu, cuda or cuda:1")
    dtype: Literal["float32", "float64"] = Field(default="float32", description="precision of training and attack")
    draws: Literal["own", "neurips2024", "iclr2024"] = Field(
        default="own",
        description="how data, first weights, noise and targets are drawn. neurips2024, iclr2024: as that paper's "
        "script drew them for the same seed, on any machine",
    )
    draws_card: Literal["a100", "h100", "v100", "a6000", "rtx3090", "rtx4090", "t4"] | None = Field(
        default=None, description="neurips2024, iclr2024: the GPU whose draws are made again (a100)"
    )
    checkpoint_minutes: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="sgd: an interrupted training goes on from where it was so long ago at most"
    )
    checkpoint_epochs: PositiveInt | None = Field(
        default=None, description="sgd: or from the last multiple of so many epochs"
    )
    data: DataConfig = DigitsConfig()
    standard: ClassifierConfig = DescentConfig()
    attack: AttackConfig = OneStepConfig()
    mixing: MixingConfig = MixingConfig()
    perturbation: ClassifierConfig = DescentConfig()
    controls: ControlsConfig = ControlsConfig()
    measures: MeasuresConfig = MeasuresConfig()

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

    @property
    def card(self) -> str:
        """The GPU whose draws are made again."""
        return self.draws_card or "a100"

    @property
    def why_no_attribution(self) -> str | None:
        """What keeps g's training from being attributed, for a sentence about it; None if nothing does."""
        section, share = self.perturbation, self.mixing.perturbed_share
        if not isinstance(section, (DescentConfig, SGDConfig)):
            return (
                f"follows g's training step by step, but {section.label({})} has no steps that are linear in the "
                "gradient; choose descent or sgd"
            )
        if isinstance(section, SGDConfig) and section.ema_decay is not None:
            return (
                "is about the weights that g's steps lead to on the labels as they are, but perturbation.ema_decay = "
                f"{section.ema_decay:g}; remove one of them"
            )
        if self.mixing.is_mixed:
            return (
                f"splits what perturbed samples alone have taught, but mixing.perturbed_share = {share:g}; remove one "
                "of them"
            )
        return None

    @model_validator(mode="after")
    def _drawn_by_the_script(self) -> Self:
        if self.draws == "own":
            if self.draws_card is not None:
                raise ValueError(
                    f"draws_card = {self.draws_card!r} says which GPU drew for a published figure, but draws = 'own'; "
                    "remove it, or set draws = 'neurips2024' or 'iclr2024'"
                )
            return self
        script, attack, data = _SCRIPTS[self.draws], self.attack, self.data
        if (isinstance(data, SyntheticConfig) or not script.has_images) and data.name not in script.data:
            images = ("images",) if script.has_images else ()
            raise ValueError(
                f"draws = {self.draws!r} makes again what that paper's script drew, which had no data "
                f"{data.name}; choose {', '.join((*script.data, *images)[:-1])} or {(*script.data, *images)[-1]}, or "
                "draws = 'own'"
            )
        for key, value, known in (
            ("standard.model.name", self.standard.model.name, (script.model,)),
            ("perturbation.model.name", self.perturbation.model.name, (script.model,)),
            ("attack.source", attack.source, script.sources or (data.name,)),
            ("attack.targets", attack.targets, ("uniform",)),
        ):
            if value not in known:
                raise ValueError(
                    f"draws = {self.draws!r} makes again what that paper's script drew, which had no "
                    f"{key} = {value!r}; choose {' or '.join(known)}, or draws = 'own'"
                )
        return self

    @model_validator(mode="after")
    def _factors_known(self) -> Self:
        for role, has_factors in (("standard", False), ("perturbation", self.attack.has_known_factors)):
            section = getattr(self, role)
            if isinstance(section, DescentConfig) and section.form == "low_rank" and not has_factors:
                raise ValueError(
                    f"{role}.form = 'low_rank' needs inputs with known factors, which only bare one-step perturbations "
                    "in l2 of a classifier narrower than the inputs have; choose auto"
                )
        return self

    @model_validator(mode="after")
    def _precision_known(self) -> Self:
        if self.dtype == "float32":
            return self
        for section in ("standard", "perturbation", "attack"):
            products = getattr(getattr(self, section), "products", "exact")
            if products != "exact":
                raise ValueError(
                    f"{section}.products = {products!r} needs dtype = 'float32', but it is {self.dtype!r}; choose "
                    "float32, or exact products"
                )
        return self

    @model_validator(mode="after")
    def _applicable(self) -> Self:
        if isinstance(self.perturbation, UntrainedConfig):
            raise ValueError(
                "perturbation.training = 'none' leaves g as it stands, so it would learn nothing from the perturbed "
                "set; choose sgd"
            )
        if self.measures.cosine_similarity and self.standard.model.is_network:
            raise ValueError(
                "measures.cosine_similarity = true compares perturbations with the prediction for wide two-layer "
                f"networks, but standard.model.name = {self.standard.model.name!r}; remove it"
            )
        if self.measures.attribution and self.why_no_attribution is not None:
            raise ValueError(f"measures.attribution = true {self.why_no_attribution}")
        for key in ("label_smoothing", "ema_decay"):
            value = getattr(self.perturbation, key, None)
            if self.measures.theory and value is not None:
                raise ValueError(
                    "measures.theory = true is about the weights that g's steps lead to on the labels as they are, but "
                    f"perturbation.{key} = {value:g}; remove one of them"
                )
        if self.attack.rebuilds:
            self._refuse_with_rebuilt()
        of_limit = isinstance(self.standard.model, LimitConfig)
        if of_limit and isinstance(self.perturbation.model, LimitConfig) and self.attack.is_bare:
            raise ValueError(
                "attack.source = 'none' leaves a limit's bare perturbations, which are multiples of a few directions "
                "and have no limit of their own; choose another source, or a trained perturbation classifier"
            )
        if isinstance(self.attack, GeometryConfig) and not of_limit:
            raise ValueError(
                "attack.name = 'geometry' follows the normal of a limit's boundary, but standard.model.name = "
                f"{self.standard.model.name!r}; choose the model limit, or another attack"
            )
        return self

    def _refuse_with_rebuilt(self) -> None:
        """Refuse what is about perturbations towards wrong labels, and a layer of a network that has none."""
        if isinstance(self.attack, RebuildConfig) and self.attack.layer and not self.standard.model.is_network:
            raise ValueError(
                f"attack.layer = {self.attack.layer!r} names a layer of a deep network, but standard.model.name = "
                f"{self.standard.model.name!r} has its hidden units alone; remove it"
            )
        for key in ("theory", "cosine_similarity"):
            if getattr(self.measures, key):
                raise ValueError(
                    f"measures.{key} = true compares perturbations towards target labels with predictions, but "
                    "attack.name = 'rebuild' moves inputs until f's features fit; remove one of them"
                )
        if self.mixing.is_mixed:
            raise ValueError(
                f"mixing.perturbed_share = {self.mixing.perturbed_share:g} puts clean samples among wrongly labelled "
                "ones, but inputs that attack.name = 'rebuild' makes have true labels; remove one of them"
            )

    @model_validator(mode="after")
    def _mixable(self) -> Self:
        # Any classifier would tell the two kinds apart by their length, so nothing could be said of what g learned.
        if self.mixing.is_mixed and self.attack.is_bare:
            raise ValueError(
                f"mixing.perturbed_share = {self.mixing.perturbed_share:g} would put bare perturbations among whole "
                "inputs, from which their size alone tells them apart; choose another source, or remove the share"
            )
        if self.measures.theory and self.mixing.is_mixed:
            raise ValueError(
                "measures.theory = true compares with predictions for perturbed samples alone, but "
                f"mixing.perturbed_share = {self.mixing.perturbed_share:g}; remove one of them"
            )
        return self

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: Sequence[int]) -> Sequence[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice; name each once")
        return seeds
