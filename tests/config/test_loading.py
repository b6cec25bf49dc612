from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from perturblearn.config import (
    AttackConfig,
    ClassifierConfig,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    commented_toml,
    config_tree,
    fields,
    parse_value,
    resolve_config,
    resolve_sweep,
    to_toml,
    value_of,
)
from perturblearn.errors import ConfigError

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
below_one = st.floats(min_value=0, max_value=1, exclude_max=True)
numbers = st.integers(1, 10**6)


def section(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these keys, and none that is None."""
    return st.fixed_dictionaries({}, optional=keys)


classes = st.lists(st.text(min_size=1) | st.integers(0, 9), min_size=2, max_size=4, unique_by=str)
real_data = section(
    name=st.sampled_from(["digits", "npz:some/file.npz", "folder:C:\\images"]),
    classes=classes,
    n_samples=numbers,
    n_heldout=numbers,
    heldout_share=st.floats(0, 1, exclude_min=True, exclude_max=True),
    centre=st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    flatten=st.booleans(),
    model_classes=st.dictionaries(st.text(), st.just(0), min_size=1, max_size=3).map(
        lambda names: {name: [place, 1000 + place] for place, name in enumerate(names)}
    ),
)
drawn_data = st.fixed_dictionaries(
    {"name": st.just("shifted_gauss")}, optional={"input_dim": numbers, "n_samples": numbers, "shift": positive}
)
models = section(
    name=st.sampled_from(["two_layer", "one_hidden"]), hidden_dim=numbers.map(lambda m: 2 * m), slope=below_one
)
classifiers = section(
    loss=st.sampled_from(["identity", "logistic", "exponential"]),
    lr=positive | st.lists(positive, min_size=1, max_size=3),
    epochs=numbers,
    momentum=below_one,
    schedule=st.sampled_from(["plateau", "constant"]),
    model=models,
)
attacks = st.one_of(
    section(
        norm=st.sampled_from(["l2", "linf"]), epsilon=positive, targets=st.sampled_from(["other", "next", "given"])
    ),
    st.fixed_dictionaries({"norm": st.just("l0"), "pixels": numbers}),
    st.fixed_dictionaries({"source": st.sampled_from(["uniform", "gauss"])}, optional={"n_sources": numbers}),
)
trees = section(
    name=names,
    seeds=st.integers(1, 20) | st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5, unique=True),
    device=st.sampled_from(["cpu", "cuda", "cuda:12"]),
    dtype=st.sampled_from(["float32", "float64"]),
    data=real_data | drawn_data,
    standard=classifiers,
    attack=attacks,
    perturbation=classifiers,
    controls=section(draws=st.integers(0, 100)),
)


@given(tree=trees)
def test_every_valid_configuration_survives_its_files(tree: dict[str, Any]) -> None:
    config = resolve_config(tree)
    assert hash(config) == hash(resolve_config(tree))
    for again in (
        resolve_config(config),
        resolve_config(config_tree(config)),
        resolve_config(tomllib.loads(to_toml(config))),
        resolve_config(tomllib.loads(commented_toml(config))),
        resolve_config(tomllib.loads(tomli_w.dumps(tree))),
    ):
        assert again == config


def test_the_defaults_are_the_bundled_digits() -> None:
    config = resolve_config()
    assert (config.name, config.data.name, value_of(config, "data.classes")) == ("digits", "digits", ("3", "8"))
    assert ExperimentConfig().seeds == config.seeds == (0, 1, 2)


def test_a_commented_file_names_and_explains_every_key() -> None:
    text = commented_toml(resolve_config())
    lines = text.splitlines()
    headers = [line.removeprefix("# ") for line in lines]  # of sections of other variants as comments
    for name, info in fields():
        place, leaf = name.rpartition(".")[::2]
        start = headers.index(f"[{place}]") if place else 0
        position = next(i for i in range(start, len(lines)) if lines[i].removeprefix("# ").startswith(f"{leaf} ="))
        assert lines[position - 1] == f"# {info.description}"
        assert info.description


def test_every_key_is_listed_once_by_its_dotted_name() -> None:
    listed = [name for name, _ in fields()]
    assert len(set(listed)) == len(listed)
    assert {"seeds", "attack.epsilon", "standard.model.slope", "perturbation.lr"} <= set(listed)
    for name in listed:
        assert not isinstance(value_of(ExperimentConfig(), name), BaseModel)


def test_a_key_has_the_value_of_the_variant_at_hand() -> None:
    config = resolve_config({}, {"attack.name": "pgd", "standard.model.name": "mlp"})
    assert value_of(config, "attack.steps") == 100
    assert value_of(config, "standard.model.depth") == 2
    assert value_of(config, "attack.pixels") is None
    assert value_of(config, "perturbation.model.depth") is None


@pytest.mark.parametrize("data", ["gauss", "mnist", "folder:some/where"])
def test_the_default_classes_do_not_carry_over_to_other_data(data: str) -> None:
    config = resolve_config(None, {"data.name": data})
    assert config.data.chosen_classes is None
    assert config.name == data.partition(":")[0]


def test_naming_the_default_data_changes_nothing() -> None:
    assert resolve_config(None, {"data.name": "digits"}) == resolve_config()


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text("seeds = 2\n[attack]\nepsilon = 3\nnorm = 'linf'\n")
    for source in (path, str(path)):
        config = resolve_config(source, {"attack.epsilon": 0.5, "standard.model.hidden_dim": 8})
        assert (config.seeds, config.attack.epsilon, config.attack.norm) == ((0, 1), 0.5, "linf")
        assert (value_of(config, "standard.model.hidden_dim"), value_of(config, "perturbation.model.hidden_dim")) == (
            8,
            100,
        )


def test_a_section_may_be_overridden_as_a_whole() -> None:
    given = {"attack": {"epsilon": 3.0, "norm": "linf"}}
    config = resolve_config(given, {"attack": {"epsilon": 0.5}, "attack.source": "none"})
    assert (config.attack.epsilon, config.attack.norm, config.attack.source) == (0.5, "l2", "none")


def test_nothing_that_was_given_is_changed() -> None:
    tree = {"attack": {"epsilon": 3.0}, "standard": {"model": {"slope": 0.5}}}
    overrides = {"data": {"name": "gauss"}, "data.input_dim": 5, "standard.model.slope": 0.1, "attack.norm": "linf"}
    resolve_config(tree, overrides)
    assert tree == {"attack": {"epsilon": 3.0}, "standard": {"model": {"slope": 0.5}}}
    assert overrides["data"] == {"name": "gauss"}


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
        ("seeds", 3, (0, 1, 2)),
        ("seeds", [5], (5,)),
        ("seeds", (4, 2), (4, 2)),
        ("standard.lr", 1, (1.0,)),
        ("standard.lr", [1, 0.1], (1.0, 0.1)),
        ("data.classes", [8, "3"], ("8", "3")),
        ("data.centre", 1, 1.0),
        ("data.centre", False, False),
        ("data.model_classes", {"dog": [151, 152], "cat": 281}, (("cat", (281,)), ("dog", (151, 152)))),
        ("attack.epsilon", 0, 0.0),
        ("name", "a" * 64, "a" * 64),
    ],
)
def test_short_forms(key: str, given: Any, meant: Any) -> None:
    value: Any = resolve_config({}, {key: given})
    for part in key.split("."):
        value = getattr(value, part)
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("attack.epsilon", "0.07", 0.07),
        ("attack.epsilon", "-1", -1),
        ("attack.epsilon", "1e-3", 0.001),
        ("attack.epsilon", ".5", 0.5),
        ("attack.epsilon", "1.", 1.0),
        ("attack.epsilon", "", ""),
        ("attack.epsilon", "1.2.3", "1.2.3"),
        ("attack.norm", "l2", "l2"),
        ("standard.lr", "0.1,0.01", [0.1, 0.01]),
        ("standard.lr", "0.1, .01,", [0.1, 0.01]),
        ("standard.lr", "[0.1, 0.01]", [0.1, 0.01]),
        ("standard.lr", "[]", []),
        ("standard.lr", "[.1, 1]", [0.1, 1]),
        ("standard.schedule", "constant", "constant"),
        ("data.centre", "true", True),
        ("data.skip_bad", "true", True),
        ("data.centre", "0.5", 0.5),
        ("seeds", "5", 5),
        ("seeds", "3,7", [3, 7]),
        ("data.classes", "3,8", ["3", "8"]),
        ("data.classes", "[3, 8]", [3, 8]),
        ("data.classes", "cat,dog", ["cat", "dog"]),
        ("data.classes", "[cat, dog]", ["cat", "dog"]),
        ("data.classes", '["a, b", "c"]', ["a, b", "c"]),
        ("data.classes", "007,1e3", ["007", "1e3"]),
        ("data.classes", "true", "true"),
        ("data.model_classes", "{cat = 281, 'big dog' = [151, 152]}", {"cat": 281, "big dog": [151, 152]}),
        ("data.name", "folder:a,b", "folder:a,b"),
        ("name", "5", "5"),
        ("device", "cuda:1", "cuda:1"),
        ("no.such.key", "3", 3),
        ("no.such.key", "word", "word"),
    ],
)
def test_values_as_written_on_a_command_line(name: str, text: str, value: Any) -> None:
    found = parse_value(name, text)
    assert found == value
    assert type(found) is type(value)


def test_examples_in_the_repository_are_valid() -> None:
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
    sweeps = [path for path in examples if "[sweep" in path.read_text(encoding="utf-8")]
    assert len(examples) > len(sweeps) > 0
    for path in examples:
        if path in sweeps:
            assert resolve_sweep(path).points()
        else:
            resolve_config(path)


def test_unreadable_images_are_skipped_in_folders_alone() -> None:
    folder = resolve_config(None, {"data.name": "folder:photos", "data.skip_bad": True})
    assert value_of(folder, "data.skip_bad") is True
    assert value_of(resolve_config(None, {"data.name": "mnist", "data.skip_bad": False}), "data.skip_bad") is None


DEFAULTS: dict[str, Any] = {
    "name": "audit",
    "seeds": 2,
    "attack": {"name": "pgd", "steps": 20},
    "standard": {"epochs": 7, "model": {"name": "mlp", "hidden_dim": 32}},
}


def chosen(config: ExperimentConfig) -> tuple[Any, ...]:
    attack, standard = config.attack, config.standard
    return (
        config.name, config.seeds, attack.name, value_of(attack, "steps"), value_of(standard, "epochs"),
        standard.model.name, value_of(standard, "model.hidden_dim"),
    )  # fmt: skip


@pytest.mark.parametrize("config", [None, {}, {"standard": {}, "attack": {}}, ExperimentConfig()], ids=str)
def test_defaults_hold_where_nothing_is_said(config: Any) -> None:
    found = resolve_config(config, defaults=DEFAULTS)
    assert chosen(found) == ("audit", (0, 1), "pgd", 20, 7, "mlp", 32)
    # What neither says is as it is by itself: none of the digits' classes, no epochs of f for g.
    assert found.data == ExperimentConfig().data
    assert found.perturbation == ExperimentConfig().perturbation


def test_the_digits_are_the_default_where_no_other_is_given() -> None:
    assert value_of(resolve_config(None, {"data.name": "digits"}, defaults={}), "data.classes") is None
    assert value_of(resolve_config(None, {"data.name": "digits"}), "data.classes") == ("3", "8")


def test_a_file_goes_over_the_defaults_and_overrides_over_both(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text("seeds = 3\n[standard]\nepochs = 9\n[standard.model]\nhidden_dim = 64\n")
    of_file = resolve_config(path, defaults=DEFAULTS)
    assert chosen(of_file) == ("audit", (0, 1, 2), "pgd", 20, 9, "mlp", 64)
    keys = {"standard.epochs": 11, "name": "mine", "attack.steps": 5}
    assert chosen(resolve_config(path, keys, defaults=DEFAULTS)) == ("mine", (0, 1, 2), "pgd", 5, 11, "mlp", 64)
    assert chosen(resolve_config(of_file, keys)) == chosen(resolve_config(path, keys, defaults=DEFAULTS))


def test_a_value_that_is_the_key_s_own_default_is_still_said() -> None:
    own = ExperimentConfig()
    keys = {"seeds": list(own.seeds), "standard.epochs": value_of(own, "standard.epochs")}
    found = resolve_config({}, keys, defaults=DEFAULTS)
    assert (found.seeds, value_of(found, "standard.epochs")) == (own.seeds, value_of(own, "standard.epochs"))


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ({}, {"attack.name": "one_step"}),
        ({"attack": {"name": "one_step"}}, {}),
        ({"attack": {"name": "one_step", "epsilon": 3.0}}, {"attack.epsilon": 2.0}),
        ({}, {"attack": {"name": "one_step"}}),
    ],
    ids=str,
)
def test_who_names_an_attack_gets_none_of_its_defaults(config: Any, overrides: dict[str, Any]) -> None:
    found = resolve_config(config, overrides, defaults=DEFAULTS)
    assert (found.attack.name, value_of(found, "attack.steps")) == ("one_step", None)
    assert found.name == "audit", "all else holds"
    # Also where it is the same attack.
    assert value_of(resolve_config({}, {"attack.name": "pgd"}, defaults=DEFAULTS), "attack.steps") == 100
    # Its size is no name.
    sized = resolve_config({}, {"attack.epsilon": 0.5, "attack.norm": "linf"}, defaults=DEFAULTS).attack
    assert (sized.name, value_of(sized, "steps"), sized.epsilon, sized.norm) == ("pgd", 20, 0.5, "linf")


def test_another_network_keeps_the_defaults_that_fit_any() -> None:
    found = resolve_config({}, {"standard.model.name": "convnet"}, defaults={"standard": {"epochs": 7}})
    assert (found.standard.model.name, value_of(found, "standard.training"), value_of(found, "standard.epochs")) == (
        "convnet",
        "sgd",
        7,
    )


def test_what_is_resolved_once_stays_with_the_same_defaults() -> None:
    found = resolve_config({}, {"attack.epsilon": 0.5}, defaults=DEFAULTS)
    assert resolve_config(found) == found
    assert resolve_config(found, defaults={"seeds": 9, "standard": {"epochs": 1}}) == found


def test_defaults_are_not_changed() -> None:
    before = copy.deepcopy(DEFAULTS)
    resolve_config(None, {"standard.model.hidden_dim": 5, "attack.name": "one_step"}, defaults=DEFAULTS)
    assert before == DEFAULTS


def test_defaults_hide_no_mistake() -> None:
    with pytest.raises(ConfigError, match=r"standard = 5, but it must be a section with keys of its own"):
        resolve_config({"standard": 5}, defaults=DEFAULTS)
    with pytest.raises(ConfigError, match=r"there is no key standard\.epoch"):
        resolve_config({}, {"standard.epoch": 5}, defaults=DEFAULTS)


@pytest.mark.parametrize(
    "family", [AttackConfig, ClassifierConfig, DataConfig, ModelConfig], ids=lambda each: each.__name__
)
def test_keys_make_the_variant_that_they_ask_for(family: type[Any]) -> None:
    for variant in family.variants():
        assert variant.family() is family
        assert not variant.is_family()
    assert type(family.model_validate(family.variants()[0]().model_dump())) is family.variants()[0]
    assert family() == family.variants()[0]()


@pytest.mark.parametrize("key", ["attack.steps", "attack.pixels", "attack.epsilon", "standard.lr", "data.classes"])
def test_none_leaves_a_key_of_a_variant_to_its_default(key: str) -> None:
    for name in ("one_step", "pgd"):
        assert resolve_config({}, {"attack.name": name, key: None}) == resolve_config({}, {"attack.name": name})


def test_a_file_of_an_earlier_version_names_keys_that_do_not_apply_at_values_that_ask_for_nothing() -> None:
    # As 'perturblearn run' wrote them before each variant had keys of its own.
    earlier = {
        "attack": {"name": "one_step", "random_start": False, "restarts": 1, "products": "exact"},
        "data": {"name": "gauss", "skip_bad": False},
        "standard": {"training": "descent", "lr": [0.5], "epochs": 300, "momentum": 0.9, "schedule": "plateau",
                     "augmentation": [], "form": "auto", "products": "exact", "loss": "logistic",
                     "model": {"name": "limit", "hidden_dim": 100, "slope": 0.1}},
        "perturbation": {"training": "sgd", "form": "auto",
                         "model": {"name": "convnet", "hidden_dim": 100, "slope": 0.0}},
    }  # fmt: skip
    keys = {"data.name": "gauss", "standard.model.name": "limit", "standard.model.slope": 0.1}
    assert resolve_config(earlier) == resolve_config({}, {**keys, "perturbation.model.name": "convnet"})
