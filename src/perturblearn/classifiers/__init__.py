"""Networks with their parametrisation and initialisation, and the type of a trained classifier."""

from perturblearn.classifiers.checkpoint import checkpoint_fingerprint, load_weights
from perturblearn.classifiers.classifier import Classifier, from_state, rows_per_pass
from perturblearn.classifiers.convnet import ConvNet
from perturblearn.classifiers.copying import copied
from perturblearn.classifiers.estimator import Estimator
from perturblearn.classifiers.evaluating import differentiable_forward, evaluating
from perturblearn.classifiers.features import Features, features_of
from perturblearn.classifiers.folding import folded
from perturblearn.classifiers.identity import Identity, identify, identify_import
from perturblearn.classifiers.importing import describe_error, import_object
from perturblearn.classifiers.linearised import is_linearised, linearised, linearised_from
from perturblearn.classifiers.make import make_network, sigmas_of
from perturblearn.classifiers.mlp import MLP, NtkLinear
from perturblearn.classifiers.network import Network
from perturblearn.classifiers.outputs import is_target, label_loss, predicted_labels
from perturblearn.classifiers.own import fingerprint, forget_calls, hand_over, name_of_object
from perturblearn.classifiers.resnet import ResNet18
from perturblearn.classifiers.resnet9 import ResNet9
from perturblearn.classifiers.trial import try_out
from perturblearn.classifiers.two_layer import TwoLayer, initialise
from perturblearn.classifiers.wide_resnet import WideResNet

__all__ = [
    "MLP",
    "Classifier",
    "ConvNet",
    "Estimator",
    "Features",
    "Identity",
    "Network",
    "NtkLinear",
    "ResNet9",
    "ResNet18",
    "TwoLayer",
    "WideResNet",
    "checkpoint_fingerprint",
    "copied",
    "describe_error",
    "differentiable_forward",
    "evaluating",
    "features_of",
    "fingerprint",
    "folded",
    "forget_calls",
    "from_state",
    "hand_over",
    "identify",
    "identify_import",
    "import_object",
    "initialise",
    "is_linearised",
    "is_target",
    "label_loss",
    "linearised",
    "linearised_from",
    "load_weights",
    "make_network",
    "name_of_object",
    "predicted_labels",
    "rows_per_pass",
    "sigmas_of",
    "try_out",
]
