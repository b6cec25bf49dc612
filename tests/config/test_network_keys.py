"""Keys of deep networks and of attacks that search: what is refused, what follows from what, what survives a file."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from perturblearn.config import commented_toml, config_tree, resolve_config, to_toml, value_of
from perturblearn.errors import ConfigError

CONVNET = {"standard.model.name": "convnet"}
PGD = {"attack.name": "pgd"}
ADVERSARIAL = {"standard.training": "adversarial"}
ROBUST = {"measures.robust_accuracy": True}
RADIAL_L0 = {"attack.name": "radial_pgd", "attack.norm": "l0"}
SGD_ALONE = "does not apply to training = 'descent', only to sgd, adversarial and linearised; remove it"
DEEP = "only to mlp, convnet and wide_resnet; remove it"
IN_L0 = "only to one_step, radial_pgd and geometry; remove it"

REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"standard.model.name": "vgg"},
        "standard.model.name = 'vgg': there is no such network; choose two_layer, one_hidden, limit, mlp, convnet, "
        "wide_resnet, resnet18, resnet9, knn, logistic_regression, gradient_boosting, or name your own as "
        "package.module:factory",
    ),
    (
        {"standard.model.name": "nets:"},
        "standard.model.name = 'nets:': there is no such network; choose two_layer, one_hidden, limit, mlp, convnet, "
        "wide_resnet, resnet18, resnet9, knn, logistic_regression, gradient_boosting, or name your own as "
        "package.module:factory",
    ),
    (
        {**CONVNET, "standard.training": "descent"},
        "standard: training = 'descent' applies to two-layer networks, not to convnet; choose sgd",
    ),
    (
        {**CONVNET, "standard.training": "flow"},
        "standard: training = 'flow' applies to two-layer networks, not to convnet; choose sgd",
    ),
    (
        {"standard.training": "sgd"},
        "standard: training = 'sgd' applies to deep networks, not to two_layer; choose descent, or another model",
    ),
    (
        {"perturbation.training": "none"},
        "perturbation: training = 'none' applies to deep networks, not to two_layer; choose descent, or another model",
    ),
    (
        {"perturbation.training": "none", "perturbation.model.name": "mlp"},
        "perturbation.training = 'none' leaves g as it stands, so it would learn nothing from the perturbed set; "
        "choose sgd",
    ),
    (
        {**CONVNET, "standard.training": "none", "standard.epochs": 5},
        "standard: the key epochs does not apply to training = 'none', only to descent, flow, adversarial, sgd and "
        "linearised; remove it",
    ),
    (
        {"standard.adversary.epsilon": 0.3},
        "standard: the key adversary does not apply to training = 'descent', only to adversarial; remove it",
    ),
    (
        {**ADVERSARIAL, "standard.adversary.name": "one_step"},
        "standard.adversary.name = 'one_step': there is no such inner attack; choose n_fgsm, pgd, radial_pgd",
    ),
    (
        {**ADVERSARIAL, "standard.adversary.steps": 3},
        "standard.adversary: the key steps does not apply to n_fgsm, only to pgd and radial_pgd; remove it",
    ),
    (
        {**ADVERSARIAL, "standard.adversary.norm": "l0"},
        "standard.adversary.norm = 'l0', but it must be 'l2' or 'linf'",
    ),
    (
        {**ADVERSARIAL, "standard.adversary.epsilon": -1},
        "standard.adversary.epsilon = -1, but it must be at least 0",
    ),
    (
        {**ADVERSARIAL, "standard.epochs": 5, "standard.adversary.warmup_epochs": 5},
        "standard: adversary.warmup_epochs = 5 leaves none of 5 epochs at the full epsilon; choose at most 4",
    ),
    (
        {**ADVERSARIAL, "standard.batch_size": 10},
        "standard: the key batch_size does not apply to training = 'adversarial', only to sgd, adversarial and "
        "linearised; remove it",
    ),
    (
        {**ADVERSARIAL, "measures.theory": True},
        "measures.theory = true compares with predictions for training on the inputs as they are, but "
        "standard.training = 'adversarial' moves them; remove one of them",
    ),
    (
        {**ADVERSARIAL, "measures.cosine_similarity": True},
        "measures.cosine_similarity = true compares perturbations with the prediction for training on the inputs as "
        "they are, but standard.training = 'adversarial' moves them; remove one of them",
    ),
    (
        {"perturbation.training": "adversarial", "measures.attribution": True},
        "measures.attribution = true is about steps on the perturbed inputs as they are, but perturbation.training = "
        "'adversarial' moves them before each step; remove one of them",
    ),
    (
        {"measures.robust_epsilon": 0.3},
        "measures: the key robust_epsilon says how robust_accuracy is measured, which is not asked for; set "
        "measures.robust_accuracy = true, or remove it",
    ),
    (
        {**ROBUST, "measures.robust_attack": "foolbox:L2PGD"},
        "measures: robust_attack = 'foolbox:L2PGD' is no search away from a label; choose pgd, or name your own as "
        "package.module:attack",
    ),
    (
        {**ROBUST, "measures.robust_attack": "mine:attack", "measures.robust_steps": 5},
        "measures: the key robust_steps applies to robust_attack = 'pgd' alone; remove it",
    ),
    (
        {**ROBUST, "attack.norm": "l0", "attack.pixels": 3},
        "measures.robust_accuracy = true measures in l2 or linf, but attack.norm = 'l0'; set measures.robust_norm and "
        "measures.robust_epsilon",
    ),
    (
        {**ROBUST, "measures.robust_norm": "linf"},
        "measures.robust_norm = 'linf' is another norm than that of attack.epsilon (l2); set measures.robust_epsilon "
        "too",
    ),
    (
        {"measures.bottleneck_layer": "layers.1"},
        "measures: bottleneck_layer = 'layers.1' names the layer of a bottleneck, which is not asked for; set "
        "measures.bottleneck, for example to 0.1, or remove it",
    ),
    (
        {"measures.bottleneck": 0.1, "measures.bottleneck_layer": "layers.1"},
        "measures.bottleneck_layer = 'layers.1' names a layer of a deep network, but standard.model.name = "
        "'two_layer' has its hidden units alone; remove it",
    ),
    ({"measures.bottleneck": 0}, "measures.bottleneck = 0, but it must be above 0"),
    ({"standard.batch_size": 10}, f"standard: the key batch_size {SGD_ALONE}"),
    ({"standard.weight_decay": 0.1}, f"standard: the key weight_decay {SGD_ALONE}"),
    ({"standard.augmentation": ["flip"]}, f"standard: the key augmentation {SGD_ALONE}"),
    (
        {**CONVNET, "standard.augmentation": ["turn"]},
        "standard.augmentation = 'turn', but it must be 'crop' or 'flip'",
    ),
    (
        {**CONVNET, "standard.crop_padding": 2},
        "standard: the key crop_padding applies to augmentation with crop; add crop, or remove it",
    ),
    (
        {**CONVNET, "standard.augmentation": "flip", "standard.crop_fill": "reflect"},
        "standard: the key crop_fill applies to augmentation with crop; add crop, or remove it",
    ),
    (
        {**CONVNET, "standard.warmup_epochs": 2},
        "standard: the key warmup_epochs applies to the schedule linear, not to plateau; choose linear, or remove it",
    ),
    (
        {**CONVNET, "standard.schedule": "linear", "standard.warmup_epochs": 5, "standard.epochs": 5},
        "standard: warmup_epochs = 5 leaves none of 5 epochs in which the rate falls; choose at most 4",
    ),
    (
        {**CONVNET, "standard.nesterov": False, "standard.momentum": 0.0},
        "standard: nesterov = false says how momentum is applied, but momentum = 0; remove one of them",
    ),
    (
        {**CONVNET, "standard.label_smoothing": 0.1, "standard.loss": "exponential"},
        "standard: the key label_smoothing applies to the loss logistic, not to exponential; remove it",
    ),
    ({**CONVNET, "standard.label_smoothing": 1.0}, "standard.label_smoothing = 1.0, but it must be below 1"),
    ({**CONVNET, "standard.ema_decay": 1.5}, "standard.ema_decay = 1.5, but it must be below 1"),
    ({"standard.ema_decay": 0.9}, f"standard: the key ema_decay {SGD_ALONE}"),
    (
        {"perturbation.model.name": "convnet", "perturbation.ema_decay": 0.9, "measures.attribution": True},
        "measures.attribution = true is about the weights that g's steps lead to on the labels as they are, but "
        "perturbation.ema_decay = 0.9; remove one of them",
    ),
    (
        {"perturbation.model.name": "convnet", "perturbation.label_smoothing": 0.1, "measures.theory": True},
        "measures.theory = true is about the weights that g's steps lead to on the labels as they are, but "
        "perturbation.label_smoothing = 0.1; remove one of them",
    ),
    (
        {"standard.model.name": "mlp", "standard.model.sigma_w": 2.0},
        "standard.model: sigma_w = 2 is a factor of the ntk parametrization, which is not asked for; set "
        "parametrization = 'ntk', or remove it",
    ),
    (
        {"standard.schedule": "cosine"},
        "standard.schedule = 'cosine', but it must be 'plateau' or 'constant'",
    ),
    (
        {**CONVNET, "standard.form": "gram"},
        "standard: the key form does not apply to training = 'sgd', only to descent; remove it",
    ),
    (
        {**CONVNET, "standard.model.hidden_dim": 5},
        "standard.model: the key hidden_dim does not apply to the model convnet, only to two_layer, "
        "one_hidden and mlp; "
        "remove it",
    ),
    (
        {**CONVNET, "standard.model.slope": 0.1},
        "standard.model: the key slope does not apply to the model convnet, only to two_layer, "
        "one_hidden, limit and mlp; "
        "remove it",
    ),
    (
        {"standard.model.name": "resnet18", "standard.model.depth": 3},
        f"standard.model: the key depth does not apply to the model resnet18, {DEEP}",
    ),
    (
        {"standard.model.name": "mlp", "standard.model.width": 2.0},
        "standard.model: the key width does not apply to the model mlp, only to convnet, wide_resnet, "
        "resnet18 and resnet9; remove it",
    ),
    ({"standard.model.depth": 3}, f"standard.model: the key depth does not apply to the model two_layer, {DEEP}"),
    (
        {"standard.model.checkpoint": "f.safetensors"},
        "standard.model: the key checkpoint does not apply to the model two_layer; remove it",
    ),
    (
        {"standard.model.normalise": False},
        "standard.model: the key normalise does not apply to the model two_layer; remove it",
    ),
    (
        {"standard.model.name": "wide_resnet", "standard.model.depth": 12},
        "standard.model: depth = 12, but wide_resnet has 6 n + 4 layers; choose 10, 16, 22, 28 and so on",
    ),
    (
        {"standard.model.name": "wide_resnet", "standard.model.width": 1.5},
        "standard.model: width = 1.5, but wide_resnet is widened by a whole number; choose 1, 2 and so on",
    ),
    (
        {"standard.model.name": "nets:make", "standard.model.depth": 2},
        f"standard.model: the key depth does not apply to the model nets:make, {DEEP}",
    ),
    ({**PGD, "attack.norm": "l1"}, "attack.norm = 'l1', but it must be 'l2' or 'linf'"),
    (
        {**PGD, "attack.norm": "l0", "attack.pixels": 3},
        f"attack: the key pixels does not apply to pgd, {IN_L0}",
    ),
    (
        {"attack.name": "foolbox:L2PGD", "attack.norm": "l0", "attack.pixels": 3},
        f"attack: the key pixels does not apply to foolbox:L2PGD, {IN_L0}",
    ),
    (
        {**PGD, "attack.pixel_share": 0.1},
        f"attack: the key pixel_share does not apply to pgd, {IN_L0}",
    ),
    ({**PGD, "attack.norm": "l0"}, "attack.norm = 'l0', but it must be 'l2' or 'linf'"),
    ({"attack.pixel_share": 0.1}, "attack: the key pixel_share applies to norm l0 alone, not to l2; remove it"),
    (
        {**RADIAL_L0, "attack.pixels": 3, "attack.pixel_share": 0.1},
        "attack: pixels and pixel_share say the same in two ways; remove one of them",
    ),
    (
        {**RADIAL_L0, "attack.pixels": 3, "attack.random_start": True},
        "attack: the key random_start applies to radial_pgd in l2 and linf alone; remove it",
    ),
    (
        {"attack.name": "pgd", "attack.band": "low"},
        "attack.band = 'low': it names no band; write frequency:LOW-HIGH (between 0 and 1) or components:FIRST-END "
        "(numbers from 0 by falling variance), with 'not ' before it for all but these",
    ),
    (
        {"attack.name": "pgd", "attack.band": "components:0-3", "attack.norm": "linf"},
        "attack: the key band applies to norm l2 alone: signs of a gradient leave any band; choose l2",
    ),
    (
        {"attack.name": "pgd", "attack.band": "components:0-3", "attack.random_start": True},
        "attack: random_start = true would start outside the band; remove one of them",
    ),
    (
        {"attack.steps": 5},
        "attack: the key steps does not apply to one_step, only to radial_pgd, pgd, minimum_norm, rebuild and "
        "foolbox:NAME; remove it",
    ),
    (
        {"attack.products": "bfloat16"},
        "attack: the key products does not apply to one_step, only to radial_pgd, pgd and minimum_norm; remove it",
    ),
    (
        {"attack.name": "attacks:mine", "attack.step": 0.1},
        "attack: the key step does not apply to attacks:mine, only to radial_pgd, pgd, minimum_norm and "
        "rebuild; remove it",
    ),
    (
        {"attack.name": "minimum_norm", "attack.restarts": 2},
        "attack: the key restarts does not apply to minimum_norm, only to radial_pgd and pgd; remove it",
    ),
    (
        {**PGD, "attack.restarts": 2},
        "attack: restarts = 2 without random_start would search 2 times from one point; add random_start = true",
    ),
    (
        {"attack.name": "minimum_norm", "attack.augment": 2},
        "attack: the key augment does not apply to minimum_norm, only to radial_pgd and pgd; remove it",
    ),
    ({**PGD, "attack.patience": 0}, "attack.patience = 0, but it must be at least 1"),
    (
        {**PGD, "attack.source": "none"},
        "attack: pgd moves a source step by step, and source none has none; choose another source",
    ),
    (
        {**PGD, "attack.products": "bfloat16", "dtype": "float64"},
        "attack.products = 'bfloat16' needs dtype = 'float32', but it is 'float64'; choose float32, or exact products",
    ),
    (
        {**CONVNET, "measures.cosine_similarity": True},
        "measures.cosine_similarity = true compares perturbations with the prediction for wide two-layer networks, but "
        "standard.model.name = 'convnet'; remove it",
    ),
    ({"checkpoint_minutes": 0}, "checkpoint_minutes = 0, but it must be above 0"),
    ({"checkpoint_epochs": 0}, "checkpoint_epochs = 0, but it must be at least 1"),
]


@pytest.mark.parametrize(("keys", "sentence"), REFUSED, ids=[str(keys) for keys, _ in REFUSED])
def test_each_mistake_is_one_sentence(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        resolve_config({}, keys)
    assert str(told.value) == sentence


def test_deep_networks_have_defaults_of_their_own() -> None:
    config = resolve_config({}, {**CONVNET, "perturbation.epochs": 7})
    assert (value_of(config, "standard.training"), config.standard.lr, value_of(config, "standard.epochs")) == (
        "sgd",
        (0.01,),
        20,
    )
    assert (
        value_of(config, "perturbation.training"),
        config.perturbation.lr,
        value_of(config, "perturbation.epochs"),
    ) == ("descent", (0.5,), 7)
    given = resolve_config({}, {**CONVNET, "standard.lr": 0.3, "standard.epochs": 4}).standard
    assert (given.lr, value_of(given, "epochs")) == ((0.3,), 4)
    assert value_of(resolve_config({}, {**CONVNET, "standard.training": "none"}), "standard.training") == "none"
    for name, is_network in (("two_layer", False), ("mlp", True), ("package.module:make", True)):
        model = resolve_config({}, {"standard.model.name": name}).standard.model
        assert (model.is_network, model.is_own) == (is_network, ":" in name)


def test_networks_from_before_a_key_keep_their_identity() -> None:
    tree = config_tree(resolve_config({}, {"standard.model.name": "mlp"}).standard.model)
    assert set(tree) == {"name", "hidden_dim", "depth", "slope", "normalise"}


def test_trainings_from_before_a_key_keep_their_identity() -> None:
    plain = resolve_config({}, {**CONVNET, "standard.augmentation": "crop"})
    keys = {"crop_padding": 4, "crop_fill": "black", "warmup_epochs": 0, "nesterov": True, "label_smoothing": 0.0}
    given = {f"standard.{key}": value for key, value in {**keys, "ema_decay": 0}.items()}
    assert resolve_config({}, {**CONVNET, "standard.augmentation": "crop", **given}) == plain
    section = config_tree(plain)["standard"]
    assert isinstance(section, dict)
    assert not section.keys() & {*keys, "ema_decay"}


RECIPE = {
    "schedule": "linear",
    "warmup_epochs": 2,
    "nesterov": False,
    "label_smoothing": 0.1,
    "ema_decay": 0.9,
    "augmentation": ("crop", "flip"),
    "crop_padding": 2,
    "crop_fill": "reflect",
}
ACCEPTED: list[dict[str, Any]] = [
    CONVNET,
    {**CONVNET, "standard.schedule": "one_cycle", "standard.products": "bfloat16", "standard.augmentation": "flip"},
    {"standard.model.name": "resnet9", **{f"standard.{key}": value for key, value in RECIPE.items()}},
    {"standard.model.name": "wide_resnet", "standard.model.depth": 16, "standard.model.width": 4},
    {"standard.model.name": "mlp", "standard.model.depth": 6, "standard.model.slope": 0.1},
    {"standard.model.name": "mlp", "standard.model.parametrization": "ntk", "standard.model.sigma_b": 0.2},
    {"standard.model.name": "mlp", "standard.training": "linearised", "standard.lr": 1.0},
    {"standard.model.name": "a.b:c", "standard.model.normalise": True, "standard.model.checkpoint": "weights.pt"},
    {"attack.name": "pgd", "attack.norm": "linf", "attack.random_start": True, "attack.restarts": 3},
    {"attack.name": "pgd", "attack.patience": 5, "attack.augment": 4},
    {"attack.name": "minimum_norm", "attack.steps": 7, "attack.step": 0.1, "attack.products": "bfloat16"},
    {"attack.name": "foolbox:LinfPGD", "attack.norm": "linf", "attack.steps": 3},
    {**RADIAL_L0, "attack.pixel_share": 0.05},
    {"checkpoint_minutes": 0.5, "checkpoint_epochs": 2, "controls.linear_probe": False},
]


@pytest.mark.parametrize("keys", ACCEPTED, ids=str)
def test_what_is_accepted_survives_its_files(keys: dict[str, Any]) -> None:
    config = resolve_config({}, keys)
    for text in (to_toml(config), commented_toml(config)):
        assert resolve_config(tomllib.loads(text)) == config
