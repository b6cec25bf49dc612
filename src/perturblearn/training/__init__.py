"""Full-batch training of two-layer networks: descent, many networks side by side, and gradient flow."""

from perturblearn.training.flow import FLOW_LOSSES, Flow, train_by_flow
from perturblearn.training.full_batch import Descent, train, train_side_by_side
from perturblearn.training.losses import LOSSES, MarginLoss
from perturblearn.training.plateau import Plateau

__all__ = [
    "FLOW_LOSSES",
    "LOSSES",
    "Descent",
    "Flow",
    "MarginLoss",
    "Plateau",
    "train",
    "train_by_flow",
    "train_side_by_side",
]
