"""Studies that both papers call for and never made, as figures over the same machinery.

- *Orthogonality*: long training is understood for samples that are nearly orthogonal [ICLR24], a condition that real
  and even drawn data miss by many orders of magnitude. Does perturbation learning care?
- *Smallest perturbation*: the theory allows perturbations up to about sqrt(d/N) [ICLR24]. How small may they be?
- *Depth*: the theory is of two-layer networks, lazy ones in NeurIPS24. What is left of it in deeper ones, in torch's
  parametrisation, in one that has a limit at infinite width, and in lazy training?
- *Architectures*: the same of convolutional and residual networks.
- *Features*: which of f's features do perturbations carry, robust ones or others, and which of them does g have?
- *Map*: f may teach by its errors, by its answers to other images or to noise, and by perturbations of true labels as
  well. What does each teach, from g's own start and from f's, beside its controls?
- *Constructed sets*: does g become robust from images rebuilt from a robust f's features, and from no other set of
  Ilyas19?
- *Separations*: as f becomes robust, do its perturbations carry more of robust features, by every separation?
- *Weak limit*: from perturbed noise g sees nearly no signal. Is it then the nearest class mean, at any depth?
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from perturblearn.config import JSON, Keys
from perturblearn.papers.figure import Panel, Settings, Smaller, number, word
from perturblearn.papers.study import Study
from perturblearn.papers.study_analyses import (
    analyse_constructed_sets,
    analyse_depth,
    analyse_features,
    analyse_map,
    analyse_orthogonality,
    analyse_separations,
    analyse_smallest_perturbation,
    analyse_weak_limit,
)

NOISE, NATURAL = "noise sources", "natural sources"
RHOS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
SLOPES = (0.01, 0.03, 0.1, 0.3, 0.6, 0.9)
FEW_SAMPLES = (8, 16, 32, 64, 128)
DIMS = (500, 1000, 2000, 4000, 8000)
SAMPLES = (40, 80, 160, 320, 640)
DEPTHS = (1, 2, 3, 4, 5, 6)
WIDTHS = (64, 128, 256, 512, 1024, 2048)


SIZES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_NETWORK_MEASURES = {
    "perturbation_accuracy": "perturbation_accuracy_heldout",
    "agreement": "agreement",
    "kernel_agreement": "perturbation_kernel_prediction_agreement",
}


def _limit(_: Settings) -> dict[str, JSON]:
    """Both as the limits of long training, and perturbations along the normal of f's boundary."""
    return {**_both({"model.name": "limit"}), "attack.name": "geometry"}


def _flow(_: Settings) -> dict[str, JSON]:
    """Both trained by the flow for the time of ICLR24's 100,000 epochs, and one gradient step on f."""
    return {
        **_both({"model.name": "one_hidden", "model.hidden_dim": 200, "training": "flow"}),
        "loss": "exponential", "lr": 0.01, "epochs": 100_000, "attack.name": "one_step",
    }  # fmt: skip


def _both(keys: Keys) -> dict[str, JSON]:
    return {f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in keys.items()}


_WAYS = {"limit": _limit, "flow": _flow}


def _torch(_: Settings) -> dict[str, JSON]:
    """Torch's parametrisation, as networks are usually trained."""
    return {}


def _ntk(settings: Settings) -> dict[str, JSON]:
    """The parametrisation that has a limit at infinite width, by plain descent at the rate of the kernel's time.

    Where the rate of g varies, it is the point's.
    """
    of_g = {"perturbation.lr": settings["perturbation_lr"]} if "perturbation_lr" in settings else {}
    return {**_both({"model.parametrization": "ntk", "momentum": 0.0, "lr": 1.0}), **of_g}


def _lazy(settings: Settings) -> dict[str, JSON]:
    """The same networks replaced by their linearisation at the start; of MLPs, those with a limit."""
    ntk = _ntk(settings) if settings["standard.model.name"] == "mlp" else {}
    return {**ntk, **_both({"training": "linearised"})}


def _noise(n_adv: int) -> dict[str, JSON]:
    return {"attack.source": "gauss", "n_adv": n_adv}


# At 1.28 the size law expects an accuracy of 0.90; twice sqrt(d/N) is where g begins to follow perturbations of natural
# samples rather than their labels. So neither is saturated, and changes show.
_NOISY = {**_noise(100), "epsilon": 1.28}
_NATURAL = {"attack.source": "natural", "epsilon": round(2 * math.sqrt(1000 / 100), 3)}

ORTHOGONALITY = Study(
    "studies/orthogonality",
    {
        "data.name": "correlated", "input_dim": 1000, "n_samples": 100, "data.n_heldout": 500, "rho": 0.0,
        "slope": 0.01, "attack.targets": "uniform", "measures.theory": True,
    },
    [
        Panel({"rho": RHOS}, _NOISY, title=f"correlation, slope 0.01, {NOISE}"),
        Panel({"rho": RHOS}, {**_NOISY, "slope": 0.3}, title=f"correlation, slope 0.3, {NOISE}"),
        Panel({"rho": RHOS}, _NATURAL, title=f"correlation, slope 0.01, {NATURAL}"),
        Panel({"rho": RHOS}, {**_NATURAL, "slope": 0.3}, title=f"correlation, slope 0.3, {NATURAL}"),
        Panel({"slope": SLOPES}, _NOISY, log_x=True, title=f"slope without correlation, {NOISE}"),
        Panel({"slope": SLOPES}, _NATURAL, log_x=True, title=f"slope without correlation, {NATURAL}"),
        # Few samples, a slope near 1 and many dimensions: here the condition holds at first.
        Panel(
            {"n_samples": FEW_SAMPLES, "n_adv": FEW_SAMPLES},
            {"attack.source": "gauss", "epsilon": 1.28, "input_dim": 20_000, "slope": 0.9},
            log_x=True,
            title=f"samples without correlation, slope 0.9, {NOISE}",
        ),
    ],
    caption="f learns random labels of Gaussian samples with a common component (cosine of two samples about rho), g "
    "from L2 perturbations; against the factor by which ICLR24's condition of nearly orthogonal samples is missed.",
    measures={"perturbation_accuracy": "perturbation_accuracy", "agreement": "agreement"},
    ways=_WAYS,
    quick=Smaller(divided={"input_dim": 2, "n_samples": 2, "n_adv": 2}, settings={"data.n_heldout": 200}, points=4),
    full_takes="2 minutes",
    analysis=analyse_orthogonality,
)  # fmt: skip


def _size_panels() -> Iterator[Panel]:
    """Accuracy against the size of the perturbations, one panel for every d and N and both kinds of sources."""
    pairs = [(dim, 160) for dim in DIMS] + [(4000, count) for count in SAMPLES if count != 160]
    for dim, count in pairs:
        fixed = {"input_dim": dim, "n_samples": count}
        # By factors of sqrt(2) around 1.28, where the size law expects 0.9 for any d and N.
        sizes = [round(1.28 * 2 ** (step / 2), 4) for step in range(-4, 5)]
        yield Panel({"epsilon": sizes}, {**fixed, **_noise(count)}, log_x=True)
        # By factors of the fourth root of 2 from sqrt(d/N)/sqrt(2), because here accuracy jumps.
        sizes = [round(math.sqrt(dim / count) * 2 ** (step / 4), 4) for step in range(-2, 13)]
        yield Panel({"epsilon": sizes}, {**fixed, "attack.source": "natural"}, log_x=True)


SMALLEST_PERTURBATION = Study(
    "studies/smallest_perturbation",
    {
        "data.name": "gauss", "input_dim": 4000, "n_samples": 160, "data.n_heldout": 100, "slope": 0.01,
        "attack.targets": "uniform", "epsilon": 1.28,
    },
    list(_size_panels()),
    caption="f learns random labels of Gaussian samples, g from L2 perturbations of as many sources; accuracy of g on "
    "f's samples against the size of the perturbations, and the smallest size that reaches 0.9 against d and N.",
    measures={"perturbation_accuracy": "perturbation_accuracy"},
    ways=_WAYS,
    quick=Smaller(divided={"input_dim": 4, "n_samples": 4, "n_adv": 4}, settings={"data.n_heldout": 50}, points=6),
    full_takes="1 minute",
    analysis=analyse_smallest_perturbation,
)  # fmt: skip

# Two classes, because kernels predict the sign of one output.
_IMAGES: dict[str, JSON] = {
    "data.name": "mnist", "data.classes": ["1", "2"], "data.n_heldout": 500,
    **_both({"model.name": "mlp", "batch_size": 64, "weight_decay": 0.0, "schedule": "constant"}),
    # The largest rate of 0.1, 0.03, 0.01 at which no depth diverges.
    "lr": 0.03, "epochs": 20, "attack.name": "one_step", "attack.targets": "uniform",
    "measures.theory": True, "controls.linear_probe": False,
}  # fmt: skip
_ATTRIBUTED: dict[str, JSON] = {"measures.attribution": True, "measures.attribution_inputs": 100}

DEPTH = Study(
    "studies/depth",
    # 1,000 samples, because kernels take all pairs.
    {**_IMAGES, **_ATTRIBUTED, "data.n_samples": 1000, "hidden_dim": 128},
    [
        Panel({"depth": DEPTHS}, {"attack.source": "none", "epsilon": 1.0}, title="hidden layers, bare perturbations"),
        Panel({"depth": DEPTHS}, {"attack.source": "natural", "epsilon": 4.0}, title=f"hidden layers, {NATURAL}"),
        Panel(
            {"hidden_dim": WIDTHS},
            {"attack.source": "natural", "epsilon": 4.0, "depth": 3},
            log_x=True,
            title=f"width of three hidden layers, {NATURAL}",
        ),
    ],
    caption="MNIST, 1 against 2, f and g multilayer perceptrons of equal depth, one-step L2 perturbations; accuracy "
    "and agreement of g, how lazy both are, what its kernel at the start and the kernel at infinite width (ntk alone) "
    "predict of it, and what taught it.",
    measures=_NETWORK_MEASURES,
    ways={"torch": _torch, "ntk": _ntk, "lazy": _lazy},
    # Fewer samples need more epochs for as many steps.
    quick=Smaller(
        settings={"data.n_samples": 300, "data.n_heldout": 200, "hidden_dim": 64, "epochs": 75},
        most={"hidden_dim": 128},
        points=3,
    ),
    full_takes="14 minutes",
    analysis=analyse_depth,
)

ARCHITECTURES = Study(
    "studies/architectures",
    # Parts of residual networks' training bend: a smaller error costs many times the training.
    {**_IMAGES, **_ATTRIBUTED, "measures.attribution_tolerance": 0.03, "data.n_samples": 500,
     "attack.source": "natural", "epsilon": 4.0, "width": 0.25},
    [
        Panel({"width": widths}, _both({"model.name": name}), log_x=True, title=title)
        for name, title, widths in (
            ("convnet", "ConvNet", (0.125, 0.25, 0.5, 1.0)),
            ("resnet9", "ResNet-9", (0.125, 0.25)),
            ("resnet18", "ResNet-18", (0.125, 0.25)),
        )
    ],
    caption="MNIST, 1 against 2, f and g equal networks of images, one-step L2 perturbations of images; accuracy and "
    "agreement of g, how lazy both are, what its kernel at the start predicts of it, and what taught it. The ntk "
    "parametrisation and a kernel at infinite width exist for MLPs only.",
    measures=_NETWORK_MEASURES,
    ways={"torch": _torch, "lazy": _lazy},
    quick=Smaller(
        settings={
            "data.n_samples": 100, "data.n_heldout": 100, "measures.attribution_inputs": 20, "epochs": 10,
            **_both({"batch_size": 25}),
        },
        most={"width": 0.125},
        points=2,
    ),
    full_takes="70 minutes",
    analysis=analyse_depth,
)  # fmt: skip

WEAK_LIMIT = Study(
    "studies/weak_limit",
    {**_IMAGES, "data.n_samples": 500, "hidden_dim": 128, "attack.source": "uniform", "n_adv": 1000, "epsilon": 0.5},
    [
        *(
            Panel({"epsilon": SIZES}, {"depth": depth}, log_x=True, title=f"perturbation size, hidden layers: {depth}")
            for depth in (1, 3, 6)
        ),
        # Noise is longer than images, so the rate of f may be too large for g.
        Panel(
            {"perturbation_epochs": (1, 2, 5, 10, 20)}, {"depth": 1}, log_x=True, title="training time of g at ε = 0.5"
        ),
        Panel({"perturbation_lr": (0.001, 0.003, 0.01, 0.03)}, {"depth": 1}, log_x=True, title="rate of g at ε = 0.5"),
    ],
    caption="MNIST, 1 against 2, f and g multilayer perceptrons of equal depth, g from one-step L2 perturbations of "
    "uniform noise under random targets: how far g is the nearest class mean of the set it was trained on.",
    measures={
        "perturbation_accuracy": "perturbation_accuracy_heldout",
        "nearest_mean_agreement": "nearest_mean_agreement",
        "nearest_mean_correlation": "nearest_mean_correlation",
    },
    ways={"torch": _torch, "ntk": _ntk, "lazy": _lazy},
    quick=Smaller(settings={"data.n_samples": 200, "data.n_heldout": 200, "n_adv": 300, "hidden_dim": 64}, points=3),
    full_takes="3 minutes",
    analysis=analyse_weak_limit,
)

_PAIRS: dict[str, dict[str, JSON]] = {
    "MNIST 1 and 2": {"data.name": "mnist", "data.classes": ["1", "2"]},
    "MNIST 3 and 8": {"data.name": "mnist", "data.classes": ["3", "8"]},
    "Fashion-MNIST 0 and 9": {"data.name": "fashion_mnist", "data.classes": ["0", "9"]},
}
_OF_IMAGES: dict[str, JSON] = {"attack.source": "natural", "epsilon": 4.0}


def _feature_panels() -> Iterator[Panel]:
    """Bare perturbations and perturbed images of each pair of classes, and how long g is trained, by each loss."""
    for name, data in _PAIRS.items():
        yield Panel({"epsilon": (0.25, 1.0)}, {**data, "attack.source": "none"}, log_x=True, title=f"{name}, bare")
        yield Panel({"epsilon": (2.0, 4.0, 8.0)}, {**data, **_OF_IMAGES}, log_x=True, title=f"{name}, images")
    for loss, title, epochs in (("logistic", "", (1, 10, 100, 300)), ("identity", ", identity loss", (1, 10, 100))):
        yield Panel(
            {"perturbation_epochs": epochs},
            {**_PAIRS["MNIST 1 and 2"], **_OF_IMAGES, "perturbation.loss": loss},
            log_x=True,
            title=f"MNIST 1 and 2, images, training time of g{title}",
        )


FEATURES = Study(
    "studies/features",
    # 800 samples, because kernels take all pairs; a rate at which the loss is too flat to be unstable, and no plateau.
    {
        **_PAIRS["MNIST 1 and 2"], "data.n_samples": 800, "data.n_heldout": 500, "hidden_dim": 1000,
        **_both({"schedule": "constant"}), "lr": 0.1, "epochs": 100, "attack.source": "none", "epsilon": 1.0,
        "attack.targets": "uniform", "measures.features": True,
    },
    list(_feature_panels()),
    caption="f and g two-layer networks of NeurIPS24, and the exact machines of their kernel, one-step L2 "
    "perturbations: eigenfeatures of the kernel in bands, and their weights in g relative to f.",
    measures={"perturbation_accuracy": "perturbation_accuracy_heldout", "agreement": "agreement"},
    quick=Smaller(settings={"data.n_samples": 200, "data.n_heldout": 300, "hidden_dim": 200}, points=3),
    full_takes="2 minutes",
    analysis=analyse_features,
)  # fmt: skip

_TARGETS: dict[str, dict[str, JSON]] = {
    "random, perturbed": {"attack.targets": "uniform"},
    "f's answers": {"attack.targets": "predicted", "epsilon": 0.0},
    "true, loss minimised": {"attack.targets": "true"},
    "true, loss maximised": {"attack.targets": "true", "attack.away": True},
}
"""What g's labels are, and what the inputs are moved towards or away from."""


def _from_own_start(settings: Settings) -> dict[str, JSON]:
    """The point's targets, and an attack that searches where there is something to search from."""
    keys = _TARGETS[word(settings, "targets")]
    searches = settings["attack.source"] != "none" and "epsilon" not in keys
    attack: dict[str, JSON] = {"attack.name": "pgd", "attack.steps": 20} if searches else {"attack.name": "one_step"}
    return {**keys, **attack}


def _from_standard_start(settings: Settings) -> dict[str, JSON]:
    """The same, and g has f's first weights."""
    return {**_from_own_start(settings), "perturbation.start": "standard"}


def _map_panels() -> Iterator[Panel]:
    """A panel for each source, with the targets that exist for it along its axis."""
    answers, of_noise = ("f's answers",), ("random, perturbed", "f's answers")
    bare = ("random, perturbed", "true, loss minimised")
    # So few epochs leave f errors; there are few of them, so that g takes more epochs for as many steps.
    early: dict[str, JSON] = {"standard_epochs": 1, "perturbation_epochs": 100}
    for title, source, targets, keys in (
        ("images", "natural", tuple(_TARGETS), {}),
        ("noisy images", "noisy", tuple(_TARGETS), {"attack.signal_to_noise": 0.25}),
        ("f's errors", "errors", answers, early),
        ("other images", "data:fashion_mnist", of_noise, {"n_adv": 5000}),
        ("noise", "uniform", of_noise, {"n_adv": 5000}),
        ("nothing", "none", bare, {}),
    ):
        yield Panel({"targets": targets}, {"attack.source": source, **keys}, title=title)


MAP = Study(
    "studies/map",
    {
        **_both({"model.name": "mlp", "schedule": "constant"}), "data.name": "mnist", "n_samples": 5000,
        "data.n_heldout": 2000, "hidden_dim": 200, "standard_epochs": 20, "perturbation_epochs": 20,
        "targets": "random, perturbed", "epsilon": 2.0, "controls.draws": 1, "controls.linear_probe": False,
    },
    list(_map_panels()),
    caption="MNIST, f and g multilayer perceptrons: what g learns from each source under each kind of targets, from a "
    "start of its own and from f's, beside both controls. Perturbations have an L2 size of 2.",
    measures={
        "perturbation_accuracy": "perturbation_accuracy_heldout",
        "permuted_control": "permuted_control_heldout",
        "unperturbed_control": "unperturbed_control_heldout",
    },
    ways={"own start": _from_own_start, "f's start": _from_standard_start},
    control_draws=0,  # every point has its own
    quick=Smaller(
        divided={"n_samples": 5, "n_adv": 5}, settings={"data.n_heldout": 1000, "hidden_dim": 100}, points=4
    ),
    full_takes="8 minutes",
    analysis=analyse_map,
)  # fmt: skip

CONSTRUCTED = ("D_R", "D_NR", "D_rand", "D_det")
"""The constructed data sets of Ilyas19."""
_ROBUST_EPSILON = "measures.robust_epsilon"
_PROBLEMS: dict[str, dict[str, JSON]] = {
    "cifar10": {
        **_both({
            "model.name": "resnet9", "model.width": 0.5, "schedule": "linear", "warmup_epochs": 5, "batch_size": 100,
            "nesterov": False, "augmentation": ["crop", "flip"], "crop_padding": 2,
        }),
        "n_samples": 5000, "data.n_heldout": 2000, "standard_lr": 0.2, "standard_epochs": 64, "perturbation_lr": 0.1,
        "perturbation_epochs": 64, _ROBUST_EPSILON: 0.25,
    },
    # After more than some epochs g follows what single images have by chance, and is robust from no set at all.
    "mnist": {
        **_both({"model.name": "mlp"}), "n_samples": 2000, "data.n_heldout": 500, "standard_epochs": 20,
        "perturbation_epochs": 4, _ROBUST_EPSILON: 1.5, "measures.robust_steps": 10, "measures.robust_step": 0.25,
    },
}  # fmt: skip
"""Networks and sizes, by data set; that of MNIST is small."""
_SIZES = {"cifar10": 0.5, "mnist": 2.0}
"""L2 size of perturbations, and of what adversarial training moves."""
_REBUILT: dict[str, dict[str, JSON]] = {
    "cifar10": {"attack.steps": 200, "attack.step": 0.1},
    "mnist": {"attack.steps": 60, "attack.step": 0.3},
}


def _constructed(settings: Settings) -> dict[str, JSON]:
    """A set: images rebuilt from the features of a robust f or of a standard one, or perturbed images."""
    name, data = word(settings, "set"), word(settings, "data.name")
    keys = dict(_PROBLEMS[data])
    if name == "D_R":
        keys |= {
            "standard.training": "adversarial", "standard.adversary.name": "n_fgsm", "standard.adversary.norm": "l2",
            "standard.adversary.epsilon": _SIZES[data],
        }  # fmt: skip
    if name in ("D_R", "D_NR"):
        return {**keys, "attack.name": "rebuild", **_REBUILT[data]}
    targets = {"D_rand": "uniform", "D_det": "next"}[name]
    return {
        **keys, "attack.name": "pgd", "attack.norm": "l2", "epsilon": _SIZES[data], "attack.steps": 20,
        "attack.targets": targets,
    }  # fmt: skip


CONSTRUCTED_SETS = Study(
    "studies/constructed_sets",
    {
        "data.name": "cifar10", "data.centre": False, "data.flatten": False, "set": "D_R", "controls.draws": 1,
        "controls.linear_probe": False, "measures.attribution": False, "measures.robust_accuracy": True,
        "measures.robust_norm": "l2", "measures.robust_restarts": 1,
    },
    [Panel({"set": CONSTRUCTED}, title="constructed data sets")],
    caption="The four constructed data sets of Ilyas19: images rebuilt from the features of a robust f (D_R) or of a "
    "standard one (D_NR) under their own labels, and images perturbed towards random labels (D_rand) or the next one "
    "(D_det): what g knows that learns from one of them in the standard way, and what of it is robust.",
    measures={
        "perturbation_accuracy": "perturbation_accuracy_heldout",
        "robust_accuracy": "perturbation_robust_accuracy",
    },
    ways={"": _constructed},
    control_draws=0,  # every point has its own
    quick=Smaller(settings={"data.name": "mnist"}),
    full_takes="hours, with a GPU minutes",
    analysis=analyse_constructed_sets,
)  # fmt: skip


def _strengthened(settings: Settings) -> dict[str, JSON]:
    """Adversarial training of f at the point's strength; at 0 training as usual."""
    keys: dict[str, JSON] = {}
    if settings["standard.model.name"] == "resnet9":
        recipe = {"model.width": 0.25, "schedule": "linear", "warmup_epochs": 1, "batch_size": 50, "nesterov": False}
        keys = {**_both(recipe), "lr": 0.1}
    if strength := number(settings, "adversary"):
        keys |= {
            "standard.training": "adversarial", "standard.adversary.name": "n_fgsm", "standard.adversary.norm": "l2",
            "standard.adversary.epsilon": strength,
        }  # fmt: skip
    return keys


SEPARATIONS = Study(
    "studies/separations",
    {
        "data.name": "mnist", "data.centre": False, "data.flatten": False, "n_samples": 5000, "data.n_heldout": 500,
        **_both({"model.name": "resnet9"}), "epochs": 20, "attack.name": "pgd", "attack.norm": "l2", "epsilon": 2.0,
        "attack.steps": 20, "attack.targets": "uniform", "adversary": 0.0, "controls.linear_probe": False,
        "measures.attribution": False, "measures.robust_leakage": 0.25, "measures.bottleneck": 0.003,
        "measures.robust_accuracy": True, "measures.robust_norm": "l2", "measures.robust_epsilon": 1.0,
        "measures.robust_steps": 10, "measures.robust_step": 0.25, "measures.robust_restarts": 1,
    },
    [Panel({"adversary": (0.0, 0.5, 1.0, 2.0)})],
    caption="MNIST, f trained adversarially at several strengths, g as usual from L2 perturbations of images: what two "
    "separations of robust and non-robust features say of the perturbations and of g.",
    measures={
        "perturbation_accuracy": "perturbation_accuracy_heldout",
        "robust_accuracy": "standard_robust_accuracy",
    },
    ways={"": _strengthened},
    control_draws=1,
    quick=Smaller(settings={"n_samples": 1500, **_both({"model.name": "mlp"})}),
    full_takes="an hour",
    analysis=analyse_separations,
)  # fmt: skip

STUDIES = {
    study.name: study
    for study in (
        ORTHOGONALITY,
        SMALLEST_PERTURBATION,
        DEPTH,
        ARCHITECTURES,
        WEAK_LIMIT,
        FEATURES,
        MAP,
        CONSTRUCTED_SETS,
        SEPARATIONS,
    )
}
"""The studies by name."""
