"""Perturbations of a given size towards given labels; knows not who trained the network."""

from perturblearn.attacks.at_sizes import at_sizes
from perturblearn.attacks.descent import Iterate
from perturblearn.attacks.foolbox_attack import foolbox_attack
from perturblearn.attacks.found import Found
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.geometry import geometry_inspired
from perturblearn.attacks.gradient import input_gradient
from perturblearn.attacks.minimum_norm import minimum_norm
from perturblearn.attacks.norms import steepest_step
from perturblearn.attacks.objective import target_loss
from perturblearn.attacks.one_step import gate_basis, one_step, one_step_factors
from perturblearn.attacks.own import attack_fingerprint, hand_over_attack, own_attack
from perturblearn.attacks.pgd import pgd
from perturblearn.attacks.radial_pgd import radial_pgd
from perturblearn.attacks.run_attack import run_attack

__all__ = [
    "Found",
    "Iterate",
    "at_sizes",
    "attack_fingerprint",
    "foolbox_attack",
    "frozen",
    "gate_basis",
    "geometry_inspired",
    "hand_over_attack",
    "input_gradient",
    "minimum_norm",
    "one_step",
    "one_step_factors",
    "own_attack",
    "pgd",
    "radial_pgd",
    "run_attack",
    "steepest_step",
    "target_loss",
]
