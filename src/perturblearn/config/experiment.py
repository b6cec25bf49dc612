"""An experiment as a tree of small frozen models, one field per quantity of the papers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from perturblearn.config.attack import (
    FIXED_SOURCES,
    RANDOM_TARGETS,
    AttackConfig,
    GeometryConfig,
    OneStepConfig,
    OwnAttackConfig,
    PGDConfig,
    RebuildConfig,
)
from perturblearn.config.classifier import ClassifierConfig, DescentConfig, SGDConfig, UntrainedConfig
from perturblearn.config.data import DataConfig, DigitsConfig, SyntheticConfig
from perturblearn.config.mixing import MixingConfig
from perturblearn.config.model import LimitConfig, NetworkConfig, OneHiddenConfig, TwoLayerConfig
from perturblearn.config.saving import SavingConfig
from perturblearn.config.section import IMPORT_PATH, PositiveInt, Section


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
    robust_accuracy: bool = Field(
        default=False,
        description="accuracy of f and g on clean held-out inputs, each moved away from its label by a search",
    )
    robust_attack: str = Field(
        default="pgd",
        description="that search: pgd, or your own as package.module:attack, called with the true labels",
    )
    # None where a key follows the attack.
    robust_norm: Literal["l2", "linf"] | None = Field(default=None, description="its norm (attack.norm)")
    robust_epsilon: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="how far it moves an input (attack.epsilon)"
    )
    robust_steps: PositiveInt = Field(default=20, description="pgd: its gradient steps")
    robust_step: Annotated[float, Field(gt=0)] = Field(
        default=0.1, description="pgd: length of such a step, as a multiple of robust_epsilon"
    )
    robust_restarts: PositiveInt = Field(
        default=3, description="pgd: searches, each from random points; an input is robust if none finds an error"
    )
    features: bool = Field(
        default=False,
        description="two-layer networks: which features of f the perturbations carry, and which of them g has, of the "
        "exact kernel machine and of the networks; trains one control more, and cost grows with N^3",
    )
    robust_leakage: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="L2 size against which a linear feature counts as robust: what a linear classifier of the "
        "perturbed set reaches with these features alone, with controls (Goh 2019), and g too (not measured)",
    )
    linear_shortcut: bool = Field(
        default=False,
        description="what g learns of the perturbed set once the directions of a linear classifier of that set are "
        "projected out, and once as many random ones are (Sandoval-Segura 2023); trains g twice more",
    )
    bottleneck: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="price of a nat that passes a layer of f under noise: which units bear noise, what the "
        "perturbations move of them, and what g has of either kind (Kim 2021; not measured)",
    )
    bottleneck_layer: str | None = Field(
        default=None,
        description="name of that layer of f, whose output is taken (what the last linear layer receives)",
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

    @model_validator(mode="after")
    def _has_a_bottleneck(self) -> Self:
        if self.bottleneck_layer is not None and self.bottleneck is None:
            raise ValueError(
                f"bottleneck_layer = {self.bottleneck_layer!r} names the layer of a bottleneck, which is not asked "
                "for; set measures.bottleneck, for example to 0.1, or remove it"
            )
        return self

    @model_validator(mode="after")
    def _has_a_search(self) -> Self:
        given = [name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default]
        own = [
            name for name in given if name.startswith("robust_") and name not in ("robust_accuracy", "robust_leakage")
        ]
        if own and not self.robust_accuracy:
            raise ValueError(
                f"the key {own[0]} says how robust_accuracy is measured, which is not asked for; set "
                "measures.robust_accuracy = true, or remove it"
            )
        if self.robust_attack == "pgd":
            return self
        if not IMPORT_PATH.fullmatch(self.robust_attack) or self.robust_attack.startswith("foolbox:"):
            raise ValueError(
                f"robust_attack = {self.robust_attack!r} is no search away from a label; choose pgd, or name your own "
                "as package.module:attack"
            )
        of_pgd = [name for name in own if name in ("robust_steps", "robust_step", "robust_restarts")]
        if of_pgd:
            raise ValueError(f"the key {of_pgd[0]} applies to robust_attack = 'pgd' alone; remove it")
        return self


class ControlsConfig(Section):
    """Perturbation classifiers trained without the information under test."""

    draws: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=10, description="draws of each control per seed; 0 leaves them out"
    )
    linear_probe: bool | None = Field(
        default=None,
        description="what a linear classifier learns from the perturbed set (true where g is trained by minibatches)",
    )


MOST_GENERATIONS = 10
"""Each has measures of its own, by names that are known beforehand."""
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
    "neurips2024": _Script(TwoLayerConfig.tag, ("gauss", "shifted_gauss"), has_images=True, sources=FIXED_SOURCES),
    "iclr2024": _Script(OneHiddenConfig.tag, ("gauss", "uniform"), has_images=False),
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
    generations: Annotated[int, Field(ge=1, le=MOST_GENERATIONS)] = Field(
        default=1,
        description="how often perturbations are learned from: with 2, g is attacked as f was and another network "
        f"learns from that set, and so on, up to {MOST_GENERATIONS}",
    )
    checkpoint_minutes: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="sgd: an interrupted training goes on from where it was so long ago at most"
    )
    checkpoint_epochs: PositiveInt | None = Field(
        default=None, description="sgd: or from the last multiple of so many epochs"
    )
    # Constructed, not validated: that would build their schemas when this is imported.
    data: DataConfig = DigitsConfig.model_construct()
    standard: ClassifierConfig = DescentConfig.model_construct()
    attack: AttackConfig = OneStepConfig.model_construct()
    mixing: MixingConfig = MixingConfig.model_construct()
    saving: SavingConfig = SavingConfig.model_construct()
    perturbation: ClassifierConfig = DescentConfig.model_construct()
    controls: ControlsConfig = ControlsConfig.model_construct()
    measures: MeasuresConfig = MeasuresConfig.model_construct()

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
        if section.is_adversarial:
            return (
                "is about steps on the perturbed inputs as they are, but perturbation.training = 'adversarial' moves "
                "them before each step; remove one of them"
            )
        if self.attack.is_soft:
            return f"is about target labels, but attack.targets = {self.attack.targets!r}; remove one of them"
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

    @property
    def robust_attack(self) -> PGDConfig | OwnAttackConfig:
        """The search away from true labels by which robust accuracy is measured."""
        measures, attack = self.measures, self.attack
        norm = measures.robust_norm or attack.norm
        assert norm != "l0", "refused below"
        epsilon = attack.epsilon if measures.robust_epsilon is None else measures.robust_epsilon
        if measures.robust_attack != "pgd":
            return OwnAttackConfig(name=measures.robust_attack, norm=norm, epsilon=epsilon)
        steps, step, restarts = measures.robust_steps, measures.robust_step, measures.robust_restarts
        return PGDConfig(norm=norm, epsilon=epsilon, steps=steps, step=step, random_start=True, restarts=restarts)

    @model_validator(mode="after")
    def _measures_robustness_in_a_norm(self) -> Self:
        measures, norm = self.measures, self.attack.norm
        if not measures.robust_accuracy:
            return self
        if measures.robust_norm is None and norm == "l0":
            raise ValueError(
                "measures.robust_accuracy = true measures in l2 or linf, but attack.norm = 'l0'; set "
                "measures.robust_norm and measures.robust_epsilon"
            )
        if measures.robust_norm not in (None, norm) and measures.robust_epsilon is None:
            raise ValueError(
                f"measures.robust_norm = {measures.robust_norm!r} is another norm than that of attack.epsilon "
                f"({norm}); set measures.robust_epsilon too"
            )
        return self

    @property
    def _why_no_features(self) -> str | None:
        """What keeps f's features from being known, for a sentence about it; None if nothing does."""
        f, g = self.standard, self.perturbation
        for role, section in (("standard", f), ("perturbation", g)):
            if not isinstance(section, DescentConfig):
                return (
                    "is about two-layer networks trained by full-batch descent, but "
                    f"{role}: {section.label({})}; choose descent, or remove it"
                )
        for key in ("name", "slope"):
            of_f, of_g = getattr(f.model, key), getattr(g.model, key)
            if of_f != of_g:
                return (
                    f"is about f and g of one kernel, but standard.model.{key} = {of_f!r} and perturbation.model.{key} "
                    f"= {of_g!r}; make them equal, or remove it"
                )
        if not isinstance(self.attack, OneStepConfig):
            return f"is about one-step perturbations, but attack.name = {self.attack.name!r}; choose one_step"
        if not self.attack.epsilon > 0:
            return "is about perturbations, but attack.epsilon = 0; choose a size above 0"
        if self.mixing.is_mixed:
            return (
                f"is about perturbed samples alone, but mixing.perturbed_share = {self.mixing.perturbed_share:g}; "
                "remove one of them"
            )
        if self.saving.is_saved:
            return (
                f"is about perturbations as the attack made them, but saving.format = {self.saving.format!r}; remove "
                "one of them"
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
            ("attack.targets", attack.targets, (RANDOM_TARGETS,)),
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
    def _starts_as_f_did(self) -> Self:
        if getattr(self.standard, "start", None) is not None:
            raise ValueError(
                "standard.start = 'standard' is about g's first weights; remove it, or set perturbation.start"
            )
        if getattr(self.perturbation, "start", None) is None:
            return self
        if isinstance(self.standard, UntrainedConfig):
            raise ValueError(
                "perturbation.start = 'standard' gives g the weights that f had before its training, but "
                "standard.training = 'none'; train f, or remove one of them"
            )
        if self.standard.model != self.perturbation.model:
            raise ValueError(
                "perturbation.start = 'standard' gives g the first weights of f, but standard.model and "
                "perturbation.model differ; make them equal, or remove it"
            )
        if self.draws != "own":
            raise ValueError(
                f"perturbation.start = 'standard' gives g the first weights of f, but draws = {self.draws!r} draws g's "
                "as the paper's script did; remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _teaches_outputs_where_they_can_be_learned(self) -> Self:
        f, g, targets = self.standard, self.perturbation, self.attack.targets
        for role, section in (("standard", f), ("perturbation", g)):
            for key in ("soft_loss", "temperature"):
                if getattr(section, key, None) is not None and (role == "standard" or not self.attack.is_soft):
                    raise ValueError(
                        f"{role}.{key} is about a g that learns outputs of f, but attack.targets = {targets!r} and the "
                        f"key is set for {role}; choose targets soft or auxiliary, or remove it"
                    )
        if not self.attack.is_soft:
            return self
        if not isinstance(g, SGDConfig) or g.is_adversarial or g.model.is_own:
            raise ValueError(
                f"attack.targets = {targets!r} teaches g outputs of f, which our deep networks learn by training = "
                f"'sgd', but perturbation.model.name = {g.model.name!r} is trained otherwise; choose such a network"
            )
        if self.mixing.is_mixed:
            raise ValueError(
                f"mixing.perturbed_share = {self.mixing.perturbed_share:g} mixes labels, but attack.targets = "
                f"{targets!r} teaches g outputs; remove one of them"
            )
        if self.attack.teaches_auxiliary:
            of_f, of_g = (
                section.model.auxiliary if isinstance(section.model, NetworkConfig) else None for section in (f, g)
            )
            if of_f is None or of_f != of_g:
                raise ValueError(
                    f"attack.targets = {targets!r} teaches g the auxiliary outputs of f, but standard.model.auxiliary "
                    f"= {of_f} and perturbation.model.auxiliary = {of_g}; give both the same number"
                )
        return self

    @model_validator(mode="after")
    def _trains_what_it_keeps(self) -> Self:
        key = f"attack.keep_others = {self.attack.n_others}"
        if self.attack.n_others and isinstance(self.standard, UntrainedConfig):
            raise ValueError(
                f"{key} trains other networks as f is trained, but standard.training = 'none'; train f, or remove it"
            )
        if self.attack.n_others and isinstance(self.standard.model, LimitConfig):
            raise ValueError(
                f"{key} trains other networks as f is trained, but a limit is the same whoever computes it; choose a "
                "trained network for f, or remove it"
            )
        if self.attack.n_others and self.draws != "own":
            raise ValueError(
                f"{key} trains networks that the script of draws = {self.draws!r} did not have; choose draws = 'own', "
                "or remove it"
            )
        return self

    @model_validator(mode="after")
    def _has_gradients_where_needed(self) -> Self:
        learner = self.perturbation.model.name
        if self.standard.model.is_fitted:
            raise ValueError(
                f"standard.model.name = {self.standard.model.name!r} has no gradients to perturb inputs by; choose it "
                "for g alone, and a network for f"
            )
        if self.perturbation.model.is_fitted:
            for key in ("theory", "robust_accuracy"):
                if getattr(self.measures, key):
                    raise ValueError(
                        f"measures.{key} = true needs gradients of g, which perturbation.model.name = {learner!r} has "
                        "not; remove one of them"
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
        if self.measures.features and self._why_no_features is not None:
            raise ValueError(f"measures.features = true {self._why_no_features}")
        if self.measures.attribution and self.why_no_attribution is not None:
            raise ValueError(f"measures.attribution = true {self.why_no_attribution}")
        for role in ("standard", "perturbation"):
            if self.measures.theory and getattr(self, role).is_adversarial:
                raise ValueError(
                    "measures.theory = true compares with predictions for training on the inputs as they are, but "
                    f"{role}.training = 'adversarial' moves them; remove one of them"
                )
        if self.measures.cosine_similarity and self.standard.is_adversarial:
            raise ValueError(
                "measures.cosine_similarity = true compares perturbations with the prediction for training on the "
                "inputs as they are, but standard.training = 'adversarial' moves them; remove one of them"
            )
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

    @model_validator(mode="after")
    def _has_that_layer(self) -> Self:
        layer = self.measures.bottleneck_layer
        if layer is not None and not self.standard.model.is_network:
            raise ValueError(
                f"measures.bottleneck_layer = {layer!r} names a layer of a deep network, but standard.model.name = "
                f"{self.standard.model.name!r} has its hidden units alone; remove it"
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

    @model_validator(mode="after")
    def _has_generations(self) -> Self:
        if self.generations == 1:
            return self
        key = f"generations = {self.generations}"
        for role in ("standard", "perturbation"):
            rates = getattr(self, role).lr
            if len(rates) > 1:
                raise ValueError(
                    f"{key} attacks one g after the other, but {role}.lr has {len(rates)} values; choose one"
                )
        if self.perturbation.model.is_fitted:
            raise ValueError(
                f"{key} attacks g, but perturbation.model.name = {self.perturbation.model.name!r} has no gradients to "
                "perturb inputs by; choose a network for g, or remove it"
            )
        if getattr(self.perturbation, "start", None) is not None:
            raise ValueError(
                f"{key} trains networks with first weights of their own, but perturbation.start = 'standard'; remove "
                "one of them"
            )
        if self.attack.rebuilds:
            raise ValueError(
                f"{key} is about perturbations towards wrong labels, but attack.name = 'rebuild' keeps true ones; "
                "remove one of them"
            )
        if isinstance(self.attack, GeometryConfig) and not isinstance(self.perturbation.model, LimitConfig):
            raise ValueError(
                f"{key} attacks g, and attack.name = 'geometry' needs a limit, but perturbation.model.name = "
                f"{self.perturbation.model.name!r}; choose the model limit, or another attack"
            )
        if self.draws != "own":
            raise ValueError(
                f"{key} trains networks that the script of draws = {self.draws!r} did not have; choose draws = 'own', "
                "or remove it"
            )
        return self

    @model_validator(mode="after")
    def _savable(self) -> Self:
        key = f"saving.format = {self.saving.format!r}"
        if self.saving.is_saved and self.attack.is_bare:
            raise ValueError(
                f"{key} writes images, which bare perturbations are not; choose another source, or remove it"
            )
        if self.saving.is_saved and self.measures.theory:
            raise ValueError(
                "measures.theory = true compares with predictions for perturbations as the attack made them, but "
                f"{key}; remove one of them"
            )
        return self

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: Sequence[int]) -> Sequence[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice; name each once")
        return seeds
