"""Learners of scikit-learn in the place of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from tests.experiment.tiny import DEEP, blobs, experiment_of

from perturblearn.classifiers import Classifier, Estimator, Network
from perturblearn.errors import DataError

LEARNERS: dict[str, Any] = {
    "knn": KNeighborsClassifier(3),
    "logistic_regression": LogisticRegression(C=0.5, max_iter=1000),
    "gradient_boosting": HistGradientBoostingClassifier(max_iter=5, random_state=0),
}
KEYS = {"knn": ("neighbours", 3), "logistic_regression": ("penalty", 2.0), "gradient_boosting": ("trees", 5)}


def keys_of(learner: str) -> dict[str, Any]:
    key, value = KEYS[learner]
    given = {name: value for name, value in DEEP.items() if not name.startswith("perturbation")}
    return {**given, "perturbation.model.name": learner, f"perturbation.model.{key}": value}


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_g_is_scikit_learn_s_of_the_perturbed_set(learner: str, n_classes: int) -> None:
    data = blobs(n_classes)
    experiment = experiment_of(keys_of(learner), data)
    executor, branch = experiment.run(), experiment.seeds[2].branches[0]
    made = executor.result(branch.perturbed)
    g = executor.result(branch.learners[0].perturbation)
    module, direct = g.module, LEARNERS[learner]
    assert isinstance(module, Network)
    prepared = module.prepared(made.inputs).flatten(1).numpy()
    direct.fit(prepared, made.target_labels.numpy())
    found = direct.predict_proba(module.prepared(data.heldout_inputs).flatten(1).numpy())
    expected = np.log(np.maximum(found, 1e-12))
    outputs = g.outputs(data.heldout_inputs).double().numpy()
    if n_classes == 2:  # its classes are -1 and +1, and one output says how much likelier the latter is
        assert np.allclose(outputs, expected[:, 1] - expected[:, 0], atol=1e-4)
    else:
        assert np.allclose(outputs, expected, atol=1e-4)


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_read_back_says_the_same(learner: str) -> None:
    data = blobs()
    experiment = experiment_of(keys_of(learner), data)
    g = experiment.run().result(experiment.seeds[2].branches[0].learners[0].perturbation)
    again = Classifier.load(g.dump())
    assert again.hash == g.hash
    assert torch.equal(again.outputs(data.heldout_inputs), g.outputs(data.heldout_inputs))


def test_a_class_without_samples_is_excluded_in_finite_numbers() -> None:
    experiment = experiment_of(keys_of("knn"), blobs())
    g = experiment.run().result(experiment.seeds[2].branches[0].learners[0].perturbation)
    assert isinstance(g.module, Network)
    body = g.module.body
    assert isinstance(body, Estimator)
    body.fit(torch.rand(6, 12), torch.tensor([0, 0, 0, 2, 2, 2]))
    outputs = body(torch.rand(4, 12))
    assert bool(outputs.isfinite().all())
    assert bool((outputs.argmax(dim=1) != 1).all())


def test_what_cannot_be_fitted_is_told() -> None:
    keys = {**keys_of("logistic_regression"), "attack.source": "uniform", "attack.n_sources": 1, "controls.draws": 0}
    with pytest.raises(DataError, match=r"logistic_regression cannot be fitted to the set: .*2 classes"):
        experiment_of({**keys, "attack.targets": "uniform"}, blobs()).run()
