from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from perturblearn.config import resolve_config, value_of
from perturblearn.errors import ConfigError

ALL_KEYS = "'perturblearn init' writes a file with all keys"
NAME = "it names a folder; write at most 64 letters, digits, '.', '_' and '-', a letter or digit first"
SEEDS = "give a number of seeds, or a list that names them"
NO_SEED = "at least one seed is needed: give a positive number or a list of seeds"
CENTRE = "give true, false or a finite number"
ONE_CLASS = "there is one class only; name at least two"
CLASSES = "give a list of classes, each by name or index"
DRAWN_ONLY = ", only to gauss, shifted_gauss, correlated and uniform; remove it"
NO_DATA = (
    "there is no such data; choose digits, mnist, fashion_mnist, cifar10, folder:PATH, npz:PATH, gauss, shifted_gauss, "
    "correlated, uniform"
)
NEURIPS = {"draws": "neurips2024"}
ICLR = {
    "draws": "iclr2024",
    "data.name": "uniform",
    "attack.source": "uniform",
    **{f"{role}.model.name": "one_hidden" for role in ("standard", "perturbation")},
}
LOW_RANK = (
    ".form = 'low_rank' needs inputs with known factors, which only bare one-step perturbations in l2 of a classifier "
    "narrower than the inputs have; choose auto"
)

SENTENCES: list[tuple[dict[str, Any], str]] = [
    # Keys that there are not.
    ({"epsilon": 1}, "there is no key epsilon; did you mean attack.epsilon?"),
    ({"attack.epsilonn": 1}, "there is no key attack.epsilonn; did you mean attack.epsilon?"),
    ({"attck.epsilon": 1}, "there is no key attck; did you mean attack?"),
    ({"standard.modle.slope": 0}, "there is no key standard.modle; did you mean standard.model?"),
    ({"Seeds": 1}, "there is no key Seeds; did you mean seeds?"),
    ({"zzz": 1}, f"there is no key zzz; {ALL_KEYS}"),
    ({"data": {"nmae": "gauss"}}, "there is no key data.nmae; did you mean data.name?"),
    # Values and sections in each other's place.
    ({"attack": "l2"}, "attack = 'l2', but it must be a section with keys of its own"),
    (
        {"data": 5, "data.name": "gauss"},
        "data.name cannot be set, because data is a value and no section; remove one of them",
    ),
    ({"attack.norm": {"name": "l2"}}, "attack.norm = {'name': 'l2'}, but it must be 'l0', 'l2' or 'linf'"),
    ({"seeds.x": 1}, f"seeds: {SEEDS}"),
    # Draws of a published script.
    ({"draws": "iclr"}, "draws = 'iclr', but it must be 'own', 'neurips2024' or 'iclr2024'"),
    (
        {"draws_card": "t4"},
        "draws_card = 't4' says which GPU drew for a published figure, but draws = 'own'; remove it, or set draws = "
        "'neurips2024' or 'iclr2024'",
    ),
    *(
        (
            {**usual, **keys},
            f"draws = {usual['draws']!r} makes again what that paper's script drew, which had no {what}; "
            f"choose {choice}, or draws = 'own'",
        )
        for usual, keys, what, choice in (
            (NEURIPS, {"standard.model.name": "one_hidden"}, "standard.model.name = 'one_hidden'", "two_layer"),
            (NEURIPS, {"perturbation.model.name": "mlp"}, "perturbation.model.name = 'mlp'", "two_layer"),
            (NEURIPS, {"attack.source": "gauss"}, "attack.source = 'gauss'", "natural or none"),
            (NEURIPS, {"attack.targets": "next"}, "attack.targets = 'next'", "uniform"),
            (NEURIPS, {"data.name": "uniform"}, "data uniform", "gauss, shifted_gauss or images"),
            (ICLR, {"standard.model.name": "two_layer"}, "standard.model.name = 'two_layer'", "one_hidden"),
            (ICLR, {"attack.source": "gauss"}, "attack.source = 'gauss'", "uniform"),
            (ICLR, {"attack.targets": "given"}, "attack.targets = 'given'", "uniform"),
            (ICLR, {"data.name": "digits"}, "data digits", "gauss or uniform"),
        )
    ),
    # Types.
    ({"attack.epsilon": "abc"}, "attack.epsilon = 'abc', but it must be a number"),
    ({"attack.epsilon": "0.5"}, "attack.epsilon = '0.5', but it must be a number"),
    ({"attack.epsilon": True}, "attack.epsilon = True, but it must be a number"),
    ({"mixing.perturbed_share": None}, "mixing.perturbed_share = None, but it must be a number"),
    ({"standard.epochs": True}, "standard.epochs = True, but it must be a whole number"),
    ({"standard.epochs": 1.5}, "standard.epochs = 1.5, but it must be a whole number"),
    ({"standard.epochs": 10.0}, "standard.epochs = 10.0, but it must be a whole number"),
    (
        {"standard.schedule": "yes"},
        "standard.schedule = 'yes', but it must be 'plateau' or 'constant'",
    ),
    ({"data.flatten": "yes"}, "data.flatten = 'yes', but it must be true or false"),
    ({"data.flatten": 1}, "data.flatten = 1, but it must be true or false"),
    ({"standard.loss": "hinge"}, "standard.loss = 'hinge', but it must be 'identity', 'logistic' or 'exponential'"),
    ({"data.name": 5}, "data.name = 5, but it must be a text"),
    ({"data.flatten": [1, 2]}, "data.flatten = [1, 2], but it must be true or false"),
    # Ranges, at their ends.
    ({"attack.epsilon": -1e-9}, "attack.epsilon = -1e-09, but it must be at least 0"),
    ({"standard.model.slope": 1}, "standard.model.slope = 1, but it must be below 1"),
    ({"perturbation.model.slope": -0.1}, "perturbation.model.slope = -0.1, but it must be at least 0"),
    ({"standard.momentum": 1.0}, "standard.momentum = 1.0, but it must be below 1"),
    ({"standard.epochs": 0}, "standard.epochs = 0, but it must be at least 1"),
    ({"standard.model.hidden_dim": 0}, "standard.model.hidden_dim = 0, but it must be at least 1"),
    ({"controls.draws": -1}, "controls.draws = -1, but it must be at least 0"),
    ({"data.n_samples": 0}, "data.n_samples = 0, but it must be at least 1"),
    ({"data.heldout_share": 0}, "data.heldout_share = 0, but it must be above 0"),
    ({"data.heldout_share": 1}, "data.heldout_share = 1, but it must be below 1"),
    ({"attack.norm": "l0", "attack.pixels": 0}, "attack.pixels = 0, but it must be at least 1"),
    ({"attack.epsilon": math.inf}, "attack.epsilon = inf, but it must be a finite number"),
    ({"attack.epsilon": math.nan}, "attack.epsilon = nan, but it must be a finite number"),
    ({"standard.lr": math.inf}, "standard.lr = inf, but it must be a finite number"),
    ({"data.centre": math.nan}, f"data.centre = nan: {CENTRE}"),
    ({"data.centre": "maybe"}, f"data.centre = 'maybe': {CENTRE}"),
    ({"data.centre": [1]}, f"data.centre = [1]: {CENTRE}"),
    # Lists.
    ({"standard.lr": []}, "standard.lr = [], but it must be a list with at least 1 entry"),
    ({"standard.lr": 0}, "standard.lr = 0, but it must be above 0"),
    ({"standard.lr": [0.1, -1]}, "standard.lr = -1, but it must be above 0"),
    ({"standard.lr": [0.1, "x"]}, "standard.lr = 'x', but it must be a number"),
    ({"standard.lr": True}, "standard.lr = True, but it must be a number"),
    ({"seeds": 0}, f"seeds = 0: {NO_SEED}"),
    ({"seeds": -2}, f"seeds = -2: {NO_SEED}"),
    ({"seeds": []}, f"seeds = []: {NO_SEED}"),
    ({"seeds": True}, f"seeds = True: {SEEDS}"),
    ({"seeds": "three"}, f"seeds = 'three': {SEEDS}"),
    ({"seeds": 1.5}, f"seeds = 1.5: {SEEDS}"),
    ({"seeds": [1, 2, 1]}, "seeds = [1, 2, 1]: a seed is named twice; name each once"),
    ({"seeds": [-1]}, "seeds = -1, but it must be at least 0"),
    ({"seeds": ["a"]}, "seeds = 'a', but it must be a whole number"),
    ({"data.classes": [3]}, f"data.classes = [3]: {ONE_CLASS}"),
    ({"data.classes": "cat"}, f"data.classes = 'cat': {ONE_CLASS}"),
    ({"data.classes": 5}, f"data.classes = 5: {ONE_CLASS}"),
    ({"data.classes": [3, "3"]}, "data.classes = [3, '3']: a class is named twice; name each once"),
    ({"data.classes": [1.5, 2]}, f"data.classes = [1.5, 2]: {CLASSES}"),
    ({"data.classes": [True, False]}, f"data.classes = [True, False]: {CLASSES}"),
    # Keys that do not go together.
    (
        {"standard.model.name": "one_hidden", "standard.model.hidden_dim": 7},
        "standard.model: hidden_dim = 7 is odd, but one_hidden has as many positive as negative units; "
        "choose an even number",
    ),
    ({"attack.norm": "l0"}, "attack: norm l0 needs the key pixels, the number of coordinates to change; add it"),
    ({"attack.pixels": 3}, "attack: the key pixels applies to norm l0 alone, not to l2; remove it"),
    (
        {"attack.n_sources": 3},
        "attack: the key n_sources applies to noise sources and to those of another data set; natural perturbs each "
        "training sample; remove it",
    ),
    (
        {"attack.n_sources": 3, "attack.source": "none"},
        "attack: the key n_sources applies to noise sources and to those of another data set; none perturbs each "
        "training sample; remove it",
    ),
    (
        {"attack.source": "gauss", "attack.targets": "other"},
        "attack: targets other needs true labels, which gauss noise does not have; choose uniform",
    ),
    (
        {"attack.source": "uniform", "attack.targets": "next"},
        "attack: targets next needs true labels, which uniform noise does not have; choose uniform",
    ),
    *(
        (
            {f"{role}.{key}": value, **keys},
            f"{role}: the key {key} does not apply to {why}; remove it",
        )
        for role in ("standard", "perturbation")
        for key, value in (("form", "plain"), ("form", "gram"), ("products", "bfloat16"))
        for keys, why in (
            (
                {f"{role}.training": "flow"},
                f"training = 'flow', only to descent{', sgd, adversarial and linearised' if key == 'products' else ''}",
            ),
            ({f"{role}.model.name": "limit", f"{role}.model.slope": 0.01}, "a limit, which is not trained"),
        )
    ),
    *(
        ({f"{role}.form": "low_rank", **keys}, f"{role}{LOW_RANK}")
        for role, keys in (
            ("standard", {}),
            ("standard", {"attack.source": "none"}),
            ("perturbation", {}),
            ("perturbation", {"attack.source": "gauss"}),
            ("perturbation", {"attack.source": "none", "attack.norm": "linf"}),
        )
    ),
    (
        {"standard.form": "low_rank", "perturbation.form": "low_rank", "attack.source": "none"},
        f"standard{LOW_RANK}",
    ),
    *(
        (
            {f"{role}.products": "bfloat16", "dtype": "float64"},
            f"{role}.products = 'bfloat16' needs dtype = 'float32', but it is 'float64'; choose float32, or exact "
            "products",
        )
        for role in ("standard", "perturbation")
    ),
    (
        {"standard.form": "row space"},
        "standard.form = 'row space', but it must be 'auto', 'plain', 'row_space', 'low_rank' or 'gram'",
    ),
    (
        {"perturbation.products": "int8"},
        "perturbation.products = 'int8', but it must be 'exact', 'bfloat16' or 'float16'",
    ),
    (
        {"standard.products": "float16", "standard.form": "gram"},
        "standard: products = 'float16' rounds every product of the plain form, but form = 'gram'; choose auto",
    ),
    (
        {"standard.products": "float16", "dtype": "float64"},
        "standard.products = 'float16' needs dtype = 'float32', but it is 'float64'; choose float32, or exact products",
    ),
    ({"data.input_dim": 3}, f"data: the key input_dim does not apply to digits{DRAWN_ONLY}"),
    ({"data.name": "mnist", "data.input_dim": 3}, f"data: the key input_dim does not apply to mnist{DRAWN_ONLY}"),
    ({"data.name": "gauss", "data.classes": [3, 8]}, "data: the key classes does not apply to gauss; remove it"),
    *(
        (
            {"data.name": name, "data.skip_bad": True},
            f"data: the key skip_bad does not apply to {name}, only to folder:PATH; remove it",
        )
        for name in ("gauss", "digits", "mnist", "npz:x.npz")
    ),
    ({"data.name": "folder:x", "data.skip_bad": 1}, "data.skip_bad = 1, but it must be true or false"),
    (
        {"data.name": "python", "data.skip_bad": True},
        "data: the key skip_bad does not apply to data handed over in Python; prepare them there",
    ),
    (
        {"data.name": "gauss", "data.shift": 0.1},
        "data: the key shift does not apply to gauss, only to shifted_gauss; remove it",
    ),
    (
        {"data.name": "gauss", "data.rho": 0.1},
        "data: the key rho does not apply to gauss, only to correlated; remove it",
    ),
    (
        {"data.name": "correlated", "data.shift": 0.1},
        "data: the key shift does not apply to correlated, only to shifted_gauss; remove it",
    ),
    (
        {"data.name": "digits", "data.rho": 0.0},
        "data: the key rho does not apply to digits, only to correlated; remove it",
    ),
    ({"data.name": "correlated", "data.rho": 1.0}, "data.rho = 1.0, but it must be below 1"),
    ({"data.name": "correlated", "data.rho": -0.1}, "data.rho = -0.1, but it must be at least 0"),
    (
        {"data.name": "uniform", "data.heldout_share": 0.1},
        "data: the key heldout_share does not apply to uniform, only to digits, folder:PATH and npz:PATH; remove it",
    ),
    (
        {"data.name": "cifar10", "data.heldout_share": 0.1},
        "data: the key heldout_share does not apply to cifar10, only to digits, folder:PATH and npz:PATH; remove it",
    ),
    (
        {"data.name": "python", "data.classes": [3, 8]},
        "data: the key classes does not apply to data handed over in Python; prepare them there",
    ),
    (
        {"data.name": "python", "data.model_classes": {"a": 1}},
        "data: the key model_classes does not apply to data handed over in Python; give model_classes to "
        "perturblearn.dataset_from",
    ),
    (
        {"data.name": "mnist", "data.model_classes": [3, 8]},
        "data.model_classes = [3, 8]: give the output of each class, such as {cat = 281, dog = [151, 152]}",
    ),
    (
        {"data.name": "mnist", "data.model_classes": {"1": 5, "2": [4, -1]}},
        "data.model_classes: the class 2 has the outputs [4, -1]; give one index or a list, counted from 0",
    ),
    (
        {"data.name": "mnist", "data.model_classes": {"1": 5, "2": [4, 5]}},
        "data.model_classes: the output 5 is named for 1 and for 2; name each once",
    ),
    # Names.
    ({"data.name": "imagenet"}, f"data.name = 'imagenet': {NO_DATA}"),
    ({"data.name": "mnist:here"}, f"data.name = 'mnist:here': {NO_DATA}"),
    ({"data.name": ""}, f"data.name = '': {NO_DATA}"),
    ({"data.name": "folder"}, "data.name = 'folder': folder needs a path; write folder:PATH"),
    ({"name": "a/b"}, f"name = 'a/b': {NAME}"),
    ({"name": ".."}, f"name = '..': {NAME}"),
    ({"name": ""}, f"name = '': {NAME}"),
    ({"name": "a\n"}, f"name = 'a\\n': {NAME}"),
    ({"name": "a" * 65}, f"name = '{'a' * 56}...: {NAME}"),
    ({"device": "gpu"}, "device = 'gpu': there is no such device; choose cpu, cuda or cuda:N"),
    ({"device": "cuda:"}, "device = 'cuda:': there is no such device; choose cpu, cuda or cuda:N"),
    ({"dtype": "float16"}, "dtype = 'float16', but it must be 'float32' or 'float64'"),
]


@pytest.mark.parametrize(("overrides", "sentence"), SENTENCES, ids=[str(overrides) for overrides, _ in SENTENCES])
@pytest.mark.parametrize("base", [{}, None], ids=["mapping", "default"])
def test_each_mistake_is_one_sentence(overrides: dict[str, Any], sentence: str, base: dict[str, Any] | None) -> None:
    with pytest.raises(ConfigError) as told:
        resolve_config(base, overrides)
    assert str(told.value) == sentence


@pytest.mark.parametrize(
    "keys",
    [
        {"standard.form": "plain", "perturbation.form": "gram"},
        {"standard.form": "row_space", "dtype": "float64"},
        {"perturbation.form": "low_rank", "attack.source": "none"},
        {"standard.products": "bfloat16", "perturbation.products": "bfloat16", "perturbation.form": "gram"},
        {"standard.training": "flow", "standard.form": "auto", "standard.products": "exact"},
    ],
    ids=str,
)
def test_forms_and_products_that_go_together(keys: dict[str, Any]) -> None:
    config = resolve_config(None, keys)
    for name, value in keys.items():
        # A value that asks for nothing may stand where its key does not apply.
        assert value_of(config, name) in (value, None)


@pytest.mark.parametrize("content", ["a = [", "a = 1\na = 2", "[data\n", "= 3", b"name = '\xff'", b"\0"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML \(.+\); fix it$"):
        resolve_config(path)


def test_a_key_of_a_mapping_must_be_a_word() -> None:
    with pytest.raises(ConfigError, match=r"^1 is not the name of a key; "):
        resolve_config({1: 2})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.toml", r"there is no file .*absent\.toml; name a TOML file, or write one with 'perturblearn init"),
        ("", r"cannot read .* \(Is a directory\); name a TOML file that can be read"),
        ("file/below.toml", r"cannot read .*below\.toml \(Not a directory\); name a TOML file that can be read"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=sentence):
        resolve_config(tmp_path / name)
