"""A run in two halves: the perturbed set is written, and g learns from what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, TWO_LAYER, M, N, blobs, experiment_of, names_of, same_artefact, same_set

from perturblearn.api import (
    RunOptions,
    UserObjects,
    learn,
    learn_from_perturbations,
    perturb,
    prepare_learn,
    prepare_perturb,
    verify,
)
from perturblearn.classifiers import Classifier, TwoLayer
from perturblearn.config import value_of
from perturblearn.data import Dataset, Signature, load_dataset
from perturblearn.errors import ConfigError, DataError, StoreError
from perturblearn.experiment import Experiment, controls
from perturblearn.experiment.learn import TrainingSpec
from perturblearn.perturbed import StoredSet
from perturblearn.perturbed.manifest import manifest_text, sealed
from perturblearn.store import ArtefactStore

pytestmark = pytest.mark.usefixtures("one_thread", "small_shards")

NOISE = {"attack.source": "uniform", "attack.targets": "uniform", "attack.n_sources": 50}
ONE_STEP = {"attack.name": "one_step", "attack.steps": None}
DEEP_WAYS: dict[str, dict[str, Any]] = {
    "pgd": {},
    "pgd from random points": {"attack.random_start": True, "attack.restarts": 2, "attack.norm": "linf"},
    "pgd of noise": NOISE,
    "one step": ONE_STEP,
    "one step of noise": {**ONE_STEP, **NOISE, "attack.source": "gauss"},
    "one step of nothing": {**ONE_STEP, "attack.source": "none"},
    "mixed": {"mixing.perturbed_share": 0.4},
    "mixed noise": {**NOISE, "mixing.perturbed_share": 0.4},
    "several rates of g": {"perturbation.lr": [0.05, 0.01]},
}
TWO_LAYER_WAYS: dict[str, dict[str, Any]] = {
    "natural": {},
    "none": {"attack.source": "none"},
    "gauss": {"attack.source": "gauss", "attack.n_sources": 50},
    "radial": {"attack.name": "radial_pgd", "attack.steps": 3},
    "mixed": {"mixing.perturbed_share": 0.4},
}
WAYS = {
    **{f"deep, {name}": (DEEP | keys, blobs()) for name, keys in DEEP_WAYS.items()},
    **{f"two-layer, {name}": (TWO_LAYER | keys, blobs(2)) for name, keys in TWO_LAYER_WAYS.items()},
}
NOT_WRITTEN = frozenset({"sources", "coefficients", "basis"})


def written(keys: dict[str, Any], data: Dataset, out: Path) -> StoredSet:
    (found,) = perturb({}, data=data, overrides=keys, out=out)
    return found


def halves(keys: dict[str, Any], data: Dataset, out: Path) -> tuple[Experiment, Experiment]:
    """The whole run, and the second half of it after the first."""
    second = prepare_learn(written(keys, data, out), data=data, overrides={"measures.attribution": False})
    return experiment_of(keys, data), second.experiment


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_is_what_a_run_sees(way: str, tmp_path: Path) -> None:
    keys, data = WAYS[way]
    experiment = experiment_of(keys, data)
    executor = experiment.run()
    (stages,) = experiment.seeds.values()
    stored = written(keys, data, tmp_path)
    assert verify(stored, data=data) == []
    same_artefact(stored.standard(), executor.result(stages.branches[0].standard).dump())
    for part, stage in (("training", stages.branches[0].perturbed), ("heldout", stages.branches[0].heldout_perturbed)):
        in_memory = executor.result(stage)
        on_disk = StoredSet(stored.folder, part)
        same_set(on_disk.load(), in_memory, but=NOT_WRITTEN)
        assert len(on_disk) == len(in_memory)
        assert on_disk.statistics["success_rate"] == pytest.approx(in_memory.success_rate, rel=1e-15)
        assert on_disk.statistics["zero_gradients"] == in_memory.zero_gradients
    is_search = experiment.config.attack.is_search
    count = 50 if experiment.config.attack.n_sources else N
    assert [entry["rows"] for entry in stored.manifest["parts"]["training"]["shards"]] == [
        [start, min(start + 32, count)] for start in range(0, count, 32)
    ]
    assert len(StoredSet(stored.folder, "heldout")) == (35 if is_search else M)


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("deep")])
def test_a_run_is_its_two_halves_to_the_bit(way: str, tmp_path: Path) -> None:
    keys, data = WAYS[way]
    whole, second = halves(keys, data, tmp_path)
    ran, learned = whole.run(), second.run()
    (of_whole,), (of_second,) = whole.seeds.values(), second.seeds.values()
    whole_branch, second_branch = of_whole.branches[0], of_second.branches[0]
    pairs = zip(of_whole.perturbations[0], of_second.perturbations[0], strict=True)
    for one, other in ((whole_branch.standard, second_branch.standard), *pairs):
        same_artefact(ran.result(one).dump(), learned.result(other).dump())
    for one, other in zip(
        (whole_branch.perturbed, whole_branch.heldout_perturbed, whole_branch.seen, whole_branch.heldout_seen),
        (second_branch.perturbed, second_branch.heldout_perturbed, second_branch.seen, second_branch.heldout_seen),
        strict=True,
    ):
        # Sources too: the set does not hold them, but they are drawn again.
        same_set(ran.result(one), learned.result(other))
    assert ran.result(of_whole.selection) == learned.result(of_second.selection)
    (found,), (again,) = whole.measures(ran), second.measures(learned)
    assert found == again
    assert found.controls.keys() == {"unperturbed", "permuted"}
    assert "linear_probe" in found.measures


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("two-layer")])
def test_a_run_of_two_layer_networks_is_its_halves_but_for_rounding(way: str, tmp_path: Path) -> None:
    keys, data = WAYS[way]
    whole, second = halves(keys, data, tmp_path)
    ran, learned = whole.run(), second.run()
    (of_whole,), (of_second,) = whole.seeds.values(), second.seeds.values()
    same_artefact(
        ran.result(of_whole.branches[0].standard).dump(), learned.result(of_second.branches[0].standard).dump()
    )
    same_set(
        ran.result(of_whole.branches[0].seen),
        learned.result(of_second.branches[0].seen),
        but=frozenset({"coefficients", "basis"}),
    )
    f, g = (
        executor.result(stages.branches[0].learners[0].perturbation)
        for executor, stages in ((ran, of_whole), (learned, of_second))
    )
    # 20 epochs of float64 rounding in the other form, where one knows factors of the set.
    assert isinstance(f.module, TwoLayer)
    assert isinstance(g.module, TwoLayer)
    assert torch.allclose(f.module.weight, g.module.weight, rtol=0, atol=1e-12)
    (found,), (again,) = whole.measures(ran), second.measures(learned)
    for name, value in found.measures.items():
        assert again.measures[name] == pytest.approx(value, rel=1e-9), name
    assert found.controls == again.controls


def test_from_python_and_to_a_folder(tmp_path: Path) -> None:
    keys, data = WAYS["deep, pgd"]
    result = learn_from_perturbations({}, data=data, overrides=keys, out=tmp_path / "run")
    stored = written(keys, data, tmp_path / "sets")
    learned = learn(stored, data=data, out=tmp_path / "learned")
    assert learned.seeds == result.seeds
    assert learned.summary == result.summary
    assert learned.folder is not None
    again = learn(stored.folder, data=data, out=tmp_path / "learned")
    assert (again.key, again.folder) == (learned.key, learned.folder)


def test_the_halves_share_their_stages_with_a_run(tmp_path: Path) -> None:
    """With one store f is trained once, and the sets are searched once, whichever comes first."""
    keys, data = WAYS["deep, pgd"]
    store = ArtefactStore(tmp_path / "cache")
    whole = experiment_of(keys, data)
    whole.run(store)
    first = prepare_perturb({}, UserObjects(data=data), overrides=keys)
    options = RunOptions(out=tmp_path / "sets", cache_dir=store.folder)
    assert first.plan(options).to_run == ()
    (stored,) = first.run(options)
    second = prepare_learn(stored, data=data).experiment
    (of_whole,), (of_second,) = whole.seeds.values(), second.seeds.values()
    assert of_whole.controls["unperturbed"] == of_second.controls["unperturbed"], "it knows nothing of the set"
    assert of_whole.controls["permuted"] != of_second.controls["permuted"]
    assert not {"shard of a perturbed set"} & set(names_of(second.plan(store)))
    # G is trained again, because it cannot be known that the set is that of the run; f never.
    assert names_of(second.plan(store)).count("perturbation network") == 1
    assert "standard network" not in names_of(second.plan(store))


def test_g_s_seeds_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, data = WAYS["deep, pgd of noise"]
    stored = written(keys, data, tmp_path)
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    learn_network = controls.learn_network

    def recording(spec: TrainingSpec, signature: Any, inputs: torch.Tensor, **options: Any) -> Any:
        if spec.role == "unperturbed control 0":
            seen.append((spec.seed, inputs, spec.labels))
        return learn_network(spec, signature, inputs, **options)

    monkeypatch.setattr(controls, "learn_network", recording)
    experiment = prepare_learn(stored, data=data, overrides={"seeds": [2, 7]}).experiment
    executor = experiment.run()
    first, second = experiment.seeds.values()
    assert first.standards == second.standards
    assert first.branches[0].perturbed == second.branches[0].perturbed
    assert first.data == second.data
    one, other = (executor.result(stages.branches[0].learners[0].perturbation) for stages in (first, second))
    assert one.hash != other.hash
    # Controls are g's too, but their sources and targets are those of the set.
    perturbed = executor.result(first.branches[0].perturbed)
    assert [seed for seed, *_ in seen] == [2, 7]
    for _, inputs, labels in seen:
        assert perturbed.sources is not None
        assert torch.equal(inputs, perturbed.sources)
        assert torch.equal(labels, perturbed.target_labels)
    # The seed of the set is that of the whole run.
    whole = experiment_of(keys, data)
    (of_whole,) = whole.seeds.values()
    assert whole.run().result(of_whole.branches[0].learners[0].perturbation).hash == one.hash


def test_the_standard_classifier_of_the_set_is_its_own(tmp_path: Path) -> None:
    keys, data = WAYS["deep, pgd"]
    stored = written(keys, data, tmp_path)
    experiment = prepare_learn(stored, data=data).experiment
    (stages,) = experiment.seeds.values()
    f: Classifier = experiment.run().result(stages.branches[0].standard)
    assert f.hash == stored.manifest["standard"]["hash"]
    assert f.training["epochs"] == 3


def test_sets_of_several_seeds_and_what_is_there_already(tmp_path: Path) -> None:
    keys, data = DEEP | {"seeds": [2, 5]}, blobs()
    found = perturb({}, data=data, overrides=keys, out=tmp_path)
    assert [stored.seed for stored in found] == [2, 5]
    assert found[0].key != found[1].key
    heard: list[str] = []
    again = perturb(
        {}, data=data, overrides=keys, out=tmp_path, watch=lambda progress: heard.append(progress.stage.label)
    )
    assert [stored.folder for stored in again] == [stored.folder for stored in found]
    assert heard == []
    # One that is gone is written again, to the byte, from what is stored.
    manifest = (found[0].folder / "manifest.json").read_bytes()
    (found[0].folder / "manifest.json").unlink()
    perturb({}, data=data, overrides=keys, out=tmp_path)
    assert (found[0].folder / "manifest.json").read_bytes() == manifest


@pytest.mark.parametrize("way", ["deep, pgd from random points", "deep, one step of noise", "two-layer, none"])
def test_a_damaged_set_is_made_again(way: str, tmp_path: Path) -> None:
    keys, data = WAYS[way]
    stored = written(keys, data, tmp_path)
    contents = {path: path.read_bytes() for path in stored.folder.rglob("*.safetensors")}
    shards = [stored.folder / entry["file"] for entry in stored.manifest["parts"]["training"]["shards"]]
    shards[-1].unlink()
    # By way of another file: this one may be shared with the store.
    other = shards[0].with_name("other")
    other.write_bytes(contents[shards[0]][:-1] + b"?")
    other.replace(shards[0])
    assert len(verify(stored, repair=True, data=data)) == 2
    assert verify(stored, data=data) == []
    for path, content in contents.items():
        assert path.read_bytes() == content


def resealed(stored: StoredSet, **changes: Any) -> None:
    body = {name: value for name, value in stored.manifest.items() if name != "sha256"} | changes
    (stored.folder / "manifest.json").write_text(manifest_text(sealed(body)), encoding="utf-8")


def test_a_set_of_a_newer_version_is_not_replaced(tmp_path: Path) -> None:
    keys, data = WAYS["deep, one step"]
    stored = written(keys, data, tmp_path)
    resealed(stored, schema=2, more="of the future")
    before = (stored.folder / "manifest.json").read_bytes()
    with pytest.raises(StoreError, match=r"was written by a newer version of perturblearn; update it$"):
        written(keys, data, tmp_path)
    assert (stored.folder / "manifest.json").read_bytes() == before


def test_a_set_says_how_g_is_trained_as_it_was_asked_for_last(tmp_path: Path) -> None:
    keys, data = WAYS["deep, pgd"]
    first = written(keys, data, tmp_path)
    files = {path: path.stat().st_ino for path in first.folder.rglob("shard-*")}
    again = written({**keys, "perturbation.epochs": 7}, data, tmp_path)
    assert again.folder == first.folder
    assert value_of(again.config, "perturbation.epochs") == 7
    # The shards are those of the store, which made nothing again.
    assert {path: path.stat().st_ino for path in again.folder.rglob("shard-*")} == files
    manifest = (again.folder / "manifest.json").stat().st_ino
    both = perturb({}, data=data, overrides={**keys, "perturbation.epochs": 7, "seeds": [2, 3]}, out=tmp_path)
    assert [found.seed for found in both] == [2, 3]
    assert (again.folder / "manifest.json").stat().st_ino == manifest, "another seed changes nothing of this one"


def test_synthetic_data_are_those_of_the_set(tmp_path: Path) -> None:
    keys = {**TWO_LAYER, "data.name": "uniform", "data.n_samples": 40, "data.n_heldout": 20, "data.input_dim": 6}
    (stored,) = perturb({}, overrides=keys, out=tmp_path)
    assert learn(stored).config.data.name == "uniform"
    ways: list[dict[str, Any]] = [{"data": "gauss"}, {"overrides": {"data.name": "gauss"}}]
    for options in ways:
        with pytest.raises(DataError, match=r"these are not the data that .* was made from \(uniform\)"):
            learn(stored, **options)


def test_a_set_on_disk_has_no_comparison_with_theory(tmp_path: Path) -> None:
    (stored,) = perturb({}, data=blobs(2), overrides={**TWO_LAYER, "measures.theory": True}, out=tmp_path)
    with pytest.raises(ConfigError, match=r"which a set on disk does not hold; set measures.theory = false, or run"):
        learn(stored, data=blobs(2))
    assert "standard_kernel_drift" not in learn(stored, data=blobs(2), overrides={"measures.theory": False}).summary


def test_a_set_on_disk_has_no_features(tmp_path: Path) -> None:
    (stored,) = perturb({}, data=blobs(2), overrides={**TWO_LAYER, "measures.features": True}, out=tmp_path)
    with pytest.raises(
        ConfigError, match=r"measures.features = true compares f with its training, which a set on disk"
    ):
        learn(stored, data=blobs(2))


def test_a_set_of_another_device_is_repaired_where_there_is_none(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the set's device")
    keys, data = WAYS["deep, one step"]
    stored = written(keys, data, tmp_path)
    tree = dict(stored.manifest["config"])
    resealed(stored, config={**tree, "device": "cuda"})
    next(iter(sorted(stored.folder.rglob("shard-*")))).unlink()
    assert len(verify(stored.folder, repair=True, data=data)) == 1
    assert verify(stored.folder) == []


def test_the_manifest_s_scale_is_that_of_its_own_seed(tmp_path: Path) -> None:
    keys = {"data.name": "digits", "data.n_samples": 40, "data.n_heldout": 20, "seeds": [0, 1], "standard.epochs": 1}
    found = perturb({}, overrides={**keys, "data.classes": [3, 8]}, out=tmp_path)
    scales = [stored.manifest["signature"]["means"] for stored in found]
    assert scales[0] != scales[1]
    for stored in found:
        data = load_dataset(stored.config.data, seed=stored.seed)
        assert stored.manifest["signature"] == Signature.of(data).to_dict()
