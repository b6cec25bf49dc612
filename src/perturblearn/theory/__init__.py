"""Both papers' predictions: tensors in, tensors out; knows no configuration, no training and no plots."""

from perturblearn.theory.boundary import (
    BoundaryTerms,
    boundary_terms,
    expected_pattern_share,
    expected_perturbation_accuracy,
)
from perturblearn.theory.decision_map import (
    DecisionMap,
    DecisionPlane,
    decision_map,
    mean_plane,
    predictions_on,
    weight_plane,
)
from perturblearn.theory.deep_kernel import DeepKernel
from perturblearn.theory.empirical_kernel import EmpiricalKernel, empirical_kernel
from perturblearn.theory.features import (
    BandWeights,
    Eigenbasis,
    KernelFeatures,
    PerturbationShares,
    band_weights,
    eigenbasis,
    feature_bands,
    perturbation_shares,
    usefulness,
    variance_shares,
)
from perturblearn.theory.gate_kernel import GateKernel, gate_kernel, sampled_gate_kernel
from perturblearn.theory.kernel import Kernel
from perturblearn.theory.kernel_training import kernel_training
from perturblearn.theory.lazy_training import expected_cosine, lazy_prediction, training_time
from perturblearn.theory.linear_features import LinearFeatures
from perturblearn.theory.linearisation import LazyRegime, lazy_regime, linearised_outputs
from perturblearn.theory.margin_limit import MarginLimit, margin_limit
from perturblearn.theory.nearest_mean import nearest_mean
from perturblearn.theory.orthogonality import Orthogonality, orthogonality
from perturblearn.theory.predictions import (
    PerturbationTerms,
    cosine_similarity,
    full_perturbation_prediction,
    perturbation_direction,
    perturbation_prediction,
    perturbation_terms,
    predict_from_directions,
    random_cosine,
    row_cosines,
    standard_prediction,
)

__all__ = [
    "BandWeights",
    "BoundaryTerms",
    "DecisionMap",
    "DecisionPlane",
    "DeepKernel",
    "Eigenbasis",
    "EmpiricalKernel",
    "GateKernel",
    "Kernel",
    "KernelFeatures",
    "LazyRegime",
    "LinearFeatures",
    "MarginLimit",
    "Orthogonality",
    "PerturbationShares",
    "PerturbationTerms",
    "band_weights",
    "boundary_terms",
    "cosine_similarity",
    "decision_map",
    "eigenbasis",
    "empirical_kernel",
    "expected_cosine",
    "expected_pattern_share",
    "expected_perturbation_accuracy",
    "feature_bands",
    "full_perturbation_prediction",
    "gate_kernel",
    "kernel_training",
    "lazy_prediction",
    "lazy_regime",
    "linearised_outputs",
    "margin_limit",
    "mean_plane",
    "nearest_mean",
    "orthogonality",
    "perturbation_direction",
    "perturbation_prediction",
    "perturbation_shares",
    "perturbation_terms",
    "predict_from_directions",
    "predictions_on",
    "random_cosine",
    "row_cosines",
    "sampled_gate_kernel",
    "standard_prediction",
    "training_time",
    "usefulness",
    "variance_shares",
    "weight_plane",
]
