"""Full-batch training of two-layer networks: losses, plateau rule, many networks side by side."""

from perturblearn.training.full_batch import Descent, train, train_side_by_side
from perturblearn.training.losses import LOSSES, MarginLoss
from perturblearn.training.plateau import Plateau

__all__ = ["LOSSES", "Descent", "MarginLoss", "Plateau", "train", "train_side_by_side"]
