"""Training: two-layer networks full batch or by gradient flow, any network by minibatches; what taught it what."""

from perturblearn.training.adversary import Adversary
from perturblearn.training.attribution import attribute_training
from perturblearn.training.cost import (
    MOST_UNITS,
    NOMINAL,
    Choice,
    Cost,
    Group,
    Rates,
    choose_form,
    form_cost,
    is_worth_factorising,
    measure_rates,
)
from perturblearn.training.descent import Descent, Job
from perturblearn.training.distributed import workers
from perturblearn.training.float16 import train_in_float16
from perturblearn.training.flow import Flow
from perturblearn.training.form import FORMS, Form, form_words
from perturblearn.training.full_batch import Outcome, train_side_by_side
from perturblearn.training.losses import LOSSES, MarginLoss
from perturblearn.training.minibatch import MinibatchDescent, Resumption
from perturblearn.training.path_attribution import PathAttribution
from perturblearn.training.plateau import Plateau
from perturblearn.training.schedule import Schedule
from perturblearn.training.soft import SoftLoss

__all__ = [
    "FORMS",
    "LOSSES",
    "MOST_UNITS",
    "NOMINAL",
    "Adversary",
    "Choice",
    "Cost",
    "Descent",
    "Flow",
    "Form",
    "Group",
    "Job",
    "MarginLoss",
    "MinibatchDescent",
    "Outcome",
    "PathAttribution",
    "Plateau",
    "Rates",
    "Resumption",
    "Schedule",
    "SoftLoss",
    "attribute_training",
    "choose_form",
    "form_cost",
    "form_words",
    "is_worth_factorising",
    "measure_rates",
    "train_in_float16",
    "train_side_by_side",
    "workers",
]
