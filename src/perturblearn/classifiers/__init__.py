"""Networks with their parametrisation and initialisation, and the type of a trained one."""

from perturblearn.classifiers.classifier import Classifier, from_state
from perturblearn.classifiers.two_layer import TwoLayer, initialise

__all__ = ["Classifier", "TwoLayer", "from_state", "initialise"]
