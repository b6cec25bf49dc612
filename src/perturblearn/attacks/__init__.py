"""Perturbations of a given size towards given labels; knows not who trained the network."""

from perturblearn.attacks.gradient import input_gradient
from perturblearn.attacks.norms import steepest_step
from perturblearn.attacks.one_step import one_step

__all__ = ["input_gradient", "one_step", "steepest_step"]
