"""Full-batch training of two-layer networks: descent in several exact forms, many networks at once, gradient flow."""

from perturblearn.training.cost import (
    FORMS,
    MOST_UNITS,
    NOMINAL,
    Choice,
    Cost,
    Form,
    Group,
    Rates,
    choose_form,
    form_cost,
    is_worth_factorising,
    measure_rates,
)
from perturblearn.training.descent import Descent, Job
from perturblearn.training.flow import FLOW_LOSSES, Flow, train_by_flow
from perturblearn.training.full_batch import Outcome, train, train_side_by_side
from perturblearn.training.losses import LOSSES, MarginLoss
from perturblearn.training.plateau import Plateau

__all__ = [
    "FLOW_LOSSES",
    "FORMS",
    "LOSSES",
    "MOST_UNITS",
    "NOMINAL",
    "Choice",
    "Cost",
    "Descent",
    "Flow",
    "Form",
    "Group",
    "Job",
    "MarginLoss",
    "Outcome",
    "Plateau",
    "Rates",
    "choose_form",
    "form_cost",
    "is_worth_factorising",
    "measure_rates",
    "train",
    "train_by_flow",
    "train_side_by_side",
]
