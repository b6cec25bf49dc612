"""Perturbations of a given size towards given labels; knows not who trained the network."""

from perturblearn.attacks.geometry import geometry_inspired
from perturblearn.attacks.gradient import input_gradient
from perturblearn.attacks.norms import steepest_step
from perturblearn.attacks.one_step import one_step, one_step_factors
from perturblearn.attacks.radial_pgd import radial_pgd

__all__ = ["geometry_inspired", "input_gradient", "one_step", "one_step_factors", "radial_pgd", "steepest_step"]
