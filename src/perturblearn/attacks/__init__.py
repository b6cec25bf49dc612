"""Perturbations of a given size towards given labels; knows not who trained the network.

An attack is a frozen value with one method, ``search``; `make_attack` makes it from a configuration. `pgd`,
`radial_pgd`, `minimum_norm` and `run_attack` make one and search in one call.
"""

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import Norm
from perturblearn.attacks.context import AttackContext, Iterate, Others
from perturblearn.attacks.descent import ProjectedDescent
from perturblearn.attacks.factored_step import gate_basis, one_step_factors
from perturblearn.attacks.foolbox_attack import FoolboxAttack, foolbox_attack
from perturblearn.attacks.foreign_attack import CallableAttack, ForeignAttack, run_attack
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.geometry import Geometry, geometry_inspired
from perturblearn.attacks.gradient import input_gradient
from perturblearn.attacks.inner import InnerAttack, NoisyStep
from perturblearn.attacks.make_attack import make_attack, make_inner_attack
from perturblearn.attacks.minimum_norm import MinimumNorm, minimum_norm
from perturblearn.attacks.norms import L0, L2, LInf, norm_of, steepest_step
from perturblearn.attacks.objective import away_loss, odds_loss, target_loss
from perturblearn.attacks.one_step import OneStep, one_step
from perturblearn.attacks.over_epsilons import over_epsilons
from perturblearn.attacks.own import OwnAttack, attack_fingerprint, hand_over_attack, own_attack
from perturblearn.attacks.pgd import PGD, pgd
from perturblearn.attacks.radial_pgd import RadialPGD, radial_pgd
from perturblearn.attacks.rebuild import Rebuild

__all__ = [
    "L0",
    "L2",
    "PGD",
    "Attack",
    "AttackContext",
    "AttackResult",
    "CallableAttack",
    "FoolboxAttack",
    "ForeignAttack",
    "Geometry",
    "InnerAttack",
    "Iterate",
    "LInf",
    "MinimumNorm",
    "NoisyStep",
    "Norm",
    "OneStep",
    "Others",
    "OwnAttack",
    "ProjectedDescent",
    "RadialPGD",
    "Rebuild",
    "attack_fingerprint",
    "away_loss",
    "foolbox_attack",
    "frozen",
    "gate_basis",
    "geometry_inspired",
    "hand_over_attack",
    "input_gradient",
    "make_attack",
    "make_inner_attack",
    "minimum_norm",
    "norm_of",
    "odds_loss",
    "one_step",
    "one_step_factors",
    "over_epsilons",
    "own_attack",
    "pgd",
    "radial_pgd",
    "run_attack",
    "steepest_step",
    "target_loss",
]
