"""Networks with their parametrisation and initialisation, and the type of a trained classifier."""

from perturblearn.classifiers.checkpoint import checkpoint_fingerprint, load_weights
from perturblearn.classifiers.classifier import Classifier, from_state, rows_per_pass
from perturblearn.classifiers.convnet import ConvNet
from perturblearn.classifiers.evaluating import differentiable_forward, evaluating
from perturblearn.classifiers.identity import code_identity, value_identity
from perturblearn.classifiers.importing import import_object
from perturblearn.classifiers.linearised import linearised
from perturblearn.classifiers.make import make_network, sigmas_of
from perturblearn.classifiers.mlp import MLP
from perturblearn.classifiers.network import Network
from perturblearn.classifiers.outputs import is_target, label_loss, predicted_labels
from perturblearn.classifiers.own import fingerprint, hand_over
from perturblearn.classifiers.resnet import ResNet18
from perturblearn.classifiers.two_layer import TwoLayer, initialise
from perturblearn.classifiers.wide_resnet import WideResNet

__all__ = [
    "MLP",
    "Classifier",
    "ConvNet",
    "Network",
    "ResNet18",
    "TwoLayer",
    "WideResNet",
    "checkpoint_fingerprint",
    "code_identity",
    "differentiable_forward",
    "evaluating",
    "fingerprint",
    "from_state",
    "hand_over",
    "import_object",
    "initialise",
    "is_target",
    "label_loss",
    "linearised",
    "load_weights",
    "make_network",
    "predicted_labels",
    "rows_per_pass",
    "sigmas_of",
    "value_identity",
]
