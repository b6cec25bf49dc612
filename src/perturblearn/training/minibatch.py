"""Training of any network by minibatches, which an interruption does not undo."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from perturblearn.classifiers import Classifier, Network, TwoLayer, copied
from perturblearn.data import AUGMENTATIONS, BLACK, FILLS, PADDING, REFLECT, augment, draw_augmentation
from perturblearn.errors import ConfigError, DivergenceError, ModelError
from perturblearn.seeding import derive_seed
from perturblearn.store import Artefact, Drafts
from perturblearn.training.adversary import Adversary
from perturblearn.training.distributed import CommonSteps, Team, current_team, late_interrupts
from perturblearn.training.loader import make_loader
from perturblearn.training.losses import LOSSES
from perturblearn.training.schedule import SCHEDULES, Schedule
from perturblearn.training.sgd import Sgd, tensors_of
from perturblearn.training.soft import SOFT_LOSSES, SoftLoss

REPORT_SECONDS = 0.3
"""Least time between two reports: each waits for the device."""
STATE = "state"
"""Name of the draft of an unfinished training."""

Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Resumption:
    """How a long training is kept while it goes on, so that an interrupted one is resumed; it changes no result.

    Args:
        drafts: where, until whoever keeps the training's result clears them.
        minutes: time between two drafts, also within an epoch.
        epochs: epochs after which there is a draft in any case; None for the minutes alone.
    """

    drafts: Drafts
    minutes: float = 5.0
    epochs: int | None = None


@dataclass(frozen=True)
class MinibatchDescent:
    """Stochastic gradient descent on batches of shuffled samples, as deep networks are trained [ICLR24, section 5].

    Args:
        loss: identity, logistic or exponential of the margin y f(x); logistic is the cross-entropy of logits.
        lr: learning rate, above 0; the largest of ``one_cycle`` and ``linear``.
        epochs: passes over the samples.
        batch_size: samples per step, over all processes together.
        momentum: in [0, 1).
        weight_decay: lambda of the penalty lambda/2 ||w||^2 on all parameters, 0 or more.
        schedule: plateau (by the epochs' mean training loss), constant, one_cycle, cosine or linear.
        augmentation: what is done to images in training: crop (padded), flip (left to right).
        bfloat16: products in bfloat16; weights, sums and losses stay in float32.
        warmup_epochs: epochs in which the rate of ``linear`` rises to lr.
        nesterov: Nesterov's momentum; False for the velocity itself.
        label_smoothing: share of every label that is spread evenly over all classes, in [0, 1); logistic loss alone.
        crop_padding: pixels that a crop adds on each side of an image, and by which it can move it.
        crop_fill: what these pixels are: black, or reflect.
        ema_decay: in [0, 1); above 0 the moving average of weights and running statistics is the result, of which each
            step leaves this share.
        adversary: moves every batch, after its augmentation, to where the network errs; None for inputs as they are.
        soft: the loss where labels are outputs of another network; None for the cross-entropy at temperature 1.

    Raises:
        ConfigError: an unknown name, or a number of epochs or samples below 1.
    """

    loss: str
    lr: float
    epochs: int
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "plateau"
    augmentation: tuple[str, ...] = ()
    bfloat16: bool = False
    warmup_epochs: int = 0
    nesterov: bool = True
    label_smoothing: float = 0.0
    crop_padding: int = PADDING
    crop_fill: str = BLACK
    ema_decay: float = 0.0
    adversary: Adversary | None = None
    soft: SoftLoss | None = None

    def __post_init__(self) -> None:
        named = [("loss", self.loss, tuple(LOSSES)), ("schedule", self.schedule, SCHEDULES)]
        named += [("crop_fill", self.crop_fill, FILLS), ("soft loss", (self.soft or SoftLoss()).name, SOFT_LOSSES)]
        named += [("augmentation", name, AUGMENTATIONS) for name in self.augmentation]
        for key, name, known in named:
            if name not in known:
                raise ConfigError(f"{key} = {name!r} is not known; choose {', '.join(known)}")
        for key, number in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if number < 1:
                raise ConfigError(f"{key} = {number}, but at least 1 is needed")

    def train(
        self,
        network: TwoLayer | Network,
        inputs: Float[Tensor, "n ..."],
        labels: Int[Tensor, "n"] | Float[Tensor, "n ..."],
        *,
        seed: int,
        device: str | torch.device = "cpu",
        resumption: Resumption | None = None,
        resident: bool | None = None,
        alone: bool = False,
        report: Report = lambda done, steps, note: None,
    ) -> Classifier:
        """Train a network on shuffled batches; the samples left over at an epoch's end wait for the next.

        All draws follow from the seed and from the position in the training, so one that was interrupted goes on from
        its draft as if nothing had happened: on the CPU, with the same number of threads, to the same bits.

        Under torchrun (see `workers`) every process takes its share of each batch. This changes sums by rounding alone,
        except that BatchNorm takes its statistics over a process's share, and keeps those of the first process, and
        that every process draws its own dropout, all as in PyTorch's DistributedDataParallel, and its own random starts
        of an adversary.

        Args:
            network: f, as it starts; it is not changed.
            inputs: (N, ...), on the CPU or on the device, in the network's precision.
            labels: +1 and -1 for two classes, 0 .. K-1 for more, (N,) int64; or outputs that it is to have, shaped as
                its own, in floating point.
            seed: of shuffles, augmentation and dropout.
            device: where to train.
            resumption: how an unfinished training is kept; None for not at all.
            resident: keep all inputs on the device; None to do so where they fit. It changes nothing but speed.
            alone: train in this process alone, whatever others there are.
            report: called a few times per second with steps done and in all, and the epoch and its mean loss so far.

        Returns:
            The classifier on the device, in evaluation mode. Its losses are the epochs' means over their batches, each
            before its step; its final learning rate is that of the last step, or what the plateau rule left then.

        Raises:
            ConfigError: a batch that the processes cannot share evenly, another loss than logistic for more than two
                classes, augmentation of inputs that are no images, bfloat16 products of other inputs than float32, or a
                device that the processes do not have.
            ModelError: the network has nothing to train, or cannot be sent to the other processes.
            ValueError: labels that do not fit the inputs or the number of classes.
            DivergenceError: a loss or a weight is no longer finite.
        """
        team = Team() if alone else current_team()
        team.device(device)  # first of all: an error in the other processes would end them without a sentence
        resumption = resumption or Resumption(Drafts())
        task = self.task(network, inputs, labels, team, seed=seed, device=device, resident=resident)
        about = _identity(network, inputs, self, seed)
        state = resumption.drafts.read(STATE)
        if state is not None and state.content.get("about") != about:
            state = None
        task = replace(task, state=state)
        watch = _Watch(self, resumption, about, report)
        sgd = start_descent(team, task, len(inputs), Sgd)
        with late_interrupts(team) as pause:
            if team.size > 1:
                team.call(_assist, _on_cpu(task), tensors=(inputs, labels))

            def between_steps(sgd: Sgd) -> None:
                watch(sgd)
                pause()

            _descend(team, task, sgd, inputs, labels, between_steps)
        return _classifier(sgd, self, team)

    def rates(self, steps_per_epoch: int) -> Schedule:
        """The learning rates of all steps."""
        steps, warmup = (steps_per_epoch * epochs for epochs in (self.epochs, self.warmup_epochs))
        return Schedule(self.schedule, self.lr, steps, warmup)

    def task(
        self,
        network: TwoLayer | Network,
        inputs: Tensor,
        labels: Tensor,
        team: Team,
        *,
        seed: int,
        device: str | torch.device,
        resident: bool | None = None,
    ) -> Task:
        """The training from its start, once it is known that it can be done; arguments and errors as for `train`."""
        signature = network.signature if isinstance(network, Network) else None
        shape = signature.input_shape if signature else tuple(inputs.shape[1:])
        _check_labels(labels, len(inputs), signature.n_classes if signature else 2, self.loss)
        _check(network, inputs, self, shape, team)
        black = signature.black if signature else 0.0
        return Task(network, self, seed, str(device), shape, black, resident, None)


@dataclass(frozen=True, eq=False)
class Task:
    """A training, as each of the processes that share it has to know it.

    Args:
        network, descent, seed, resident: see `MinibatchDescent.train`.
        device: in words, for each process to take its own.
        image_shape: of one input, if it is an image.
        black: value of the pixels that a crop adds.
        state: of an unfinished training to go on from.
    """

    network: TwoLayer | Network
    descent: MinibatchDescent
    seed: int
    device: str
    image_shape: tuple[int, ...]
    black: float
    resident: bool | None
    state: Artefact | None


SomeSgd = TypeVar("SomeSgd", bound=Sgd)


def start_descent(team: Team, task: Task, n_samples: int, kind: type[SomeSgd]) -> SomeSgd:
    """The network before the first step that is left, in a kind of `Sgd`."""
    descent = task.descent
    per_epoch = max(1, n_samples // descent.batch_size)
    sgd = kind(
        task.network,
        descent.loss,
        descent.rates(per_epoch),
        epochs=descent.epochs,
        steps_per_epoch=per_epoch,
        momentum=descent.momentum,
        nesterov=descent.nesterov,
        weight_decay=descent.weight_decay,
        label_smoothing=descent.label_smoothing,
        ema_decay=descent.ema_decay,
        bfloat16=descent.bfloat16,
        device=team.device(task.device),
        soft=descent.soft or SoftLoss(),
    )
    if task.state is not None:
        sgd.load(task.state)
    return sgd


def _descend(
    team: Team, task: Task, sgd: Sgd, inputs: Tensor, labels: Tensor, between_steps: Callable[[Sgd], None]
) -> None:
    """This process's part in all steps that are left."""
    common = CommonSteps(team, sgd.parameters, sgd.steps - sgd.done)
    try:
        batch_size = min(task.descent.batch_size, len(inputs))
        loader = make_loader(inputs, labels, sgd.device, resident=task.resident)
        while sgd.done < sgd.steps:
            epoch, first = divmod(sgd.done, sgd.steps_per_epoch)
            own = epoch_batches(task, len(inputs), epoch)[first:, team.rank :: team.size]
            for step, (part, part_labels) in enumerate(loader.batches(own), start=first):
                if not common.begin():
                    return
                # Draws by place in the training, not from a running generator: a resumed one has no need of its past.
                position = (str(epoch), str(step))
                part = augmented(part, task, position, batch_size, team)
                adversary = task.descent.adversary
                if adversary is not None:
                    draws = derive_seed(task.seed, "adversary", *position, str(team.rank))
                    part = sgd.moved(part, part_labels, adversary, seed=draws)
                draws = derive_seed(task.seed, "network", *position, str(team.rank))
                loss = sgd.gradients(part, part_labels, batch_size=batch_size, seed=draws)
                sgd.step(common.add_up(loss))
                between_steps(sgd)
    except BaseException:
        # Also on Ctrl-C: the other processes wait for this one's part of the step.
        common.give_up()
        raise


def _assist(team: Team, task: Task, inputs: Tensor, labels: Tensor) -> None:
    """What all processes but the first do in a training."""
    _descend(team, task, start_descent(team, task, len(inputs), Sgd), inputs, labels, lambda sgd: None)


def epoch_batches(task: Task, n_samples: int, epoch: int) -> Int[Tensor, "batches n"]:
    """The samples of each batch of an epoch, counted from 0."""
    # From the epoch's own seed, so that a resumed training shuffles as an undisturbed one.
    generator = torch.Generator().manual_seed(derive_seed(task.seed, "shuffle", str(epoch)))
    order = torch.randperm(n_samples, generator=generator)
    # Fewer samples than a batch are one batch; else those left over wait for another epoch's shuffle.
    size = min(task.descent.batch_size, n_samples)
    return order[: n_samples // size * size].view(-1, size)


def augmented(part: Tensor, task: Task, position: tuple[str, str], batch_size: int, team: Team) -> Tensor:
    """A process's share of a batch, augmented; the draws are those of the whole batch, however it is shared."""
    descent = task.descent
    if not descent.augmentation:
        return part
    generator = torch.Generator().manual_seed(derive_seed(task.seed, "augmentation", *position))
    draws = draw_augmentation(batch_size, generator, padding=descent.crop_padding)
    # Without waiting for what is queued on a GPU.
    draws = draws[:, team.rank :: team.size].to(part.device, non_blocking=True)
    images = part.view(len(part), *task.image_shape)
    padding, fill = descent.crop_padding, descent.crop_fill
    return augment(images, draws, descent.augmentation, padding=padding, fill=fill, black=task.black).view_as(part)


class _Watch:
    """What the process that runs the program does between two steps: looks for divergence, keeps drafts, reports."""

    def __init__(
        self, descent: MinibatchDescent, resumption: Resumption, about: dict[str, Any], report: Report
    ) -> None:
        self._descent = descent
        self._drafts = resumption.drafts
        self._about = about
        are_kept = resumption.drafts.are_kept
        self._pause = 60 * resumption.minutes if are_kept else math.inf
        self._every_epochs = resumption.epochs if are_kept else None
        self._report = report
        self._written = self._reported = time.monotonic()

    def __call__(self, sgd: Sgd) -> None:
        now = time.monotonic()
        is_last = sgd.done == sgd.steps
        is_to_write = not is_last and self._is_to_write(sgd, now)
        is_to_report = is_last or now - self._reported >= REPORT_SECONDS
        # Looking at the loss waits for the device, so not at every step.
        if not (sgd.is_between_epochs or is_to_write or is_to_report):
            return
        epoch, loss = sgd.progress()
        if not math.isfinite(loss):
            raise self._divergence(sgd, epoch, f"the loss became {loss}")
        if is_last and not sgd.is_finite():
            raise self._divergence(sgd, epoch, "a weight is not finite")
        if is_to_write:
            self._drafts.write(STATE, sgd.dump(self._about))
            self._written = time.monotonic()
        if is_to_report:
            self._report(sgd.done, sgd.steps, f"epoch {epoch}/{self._descent.epochs}, loss {loss:.4f}")
            self._reported = time.monotonic()

    def _is_to_write(self, sgd: Sgd, now: float) -> bool:
        if now - self._written >= self._pause:
            return True
        return self._every_epochs is not None and sgd.is_between_epochs and len(sgd.losses) % self._every_epochs == 0

    def _divergence(self, sgd: Sgd, epoch: int, what: str) -> DivergenceError:
        return DivergenceError(
            f"training diverged at epoch {epoch} of {self._descent.epochs} with learning rate {sgd.lr:g} ({what}); "
            "choose a smaller learning rate"
        )


def _identity(network: nn.Module, inputs: Tensor, descent: MinibatchDescent, seed: int) -> dict[str, Any]:
    """What a draft must have been written by to be gone on from, as JSON values."""
    shapes = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors_of(network).items()}
    return {"descent": _settings(descent), "seed": seed, "n_samples": len(inputs), "shapes": shapes}


def _settings(descent: MinibatchDescent) -> dict[str, Any]:
    """All that fixes a training, as JSON values."""
    settings = {**asdict(descent), "augmentation": list(descent.augmentation)}
    del settings["adversary"]
    # Only where they say anything, so that drafts from before there were any are gone on from.
    if descent.soft is None:
        del settings["soft"]
    return settings if descent.adversary is None else {**settings, "adversary": descent.adversary.settings()}


def _on_cpu(task: Task) -> Task:
    """The task as it is sent to processes that may not see this one's GPU."""
    return replace(task, network=copied(task.network, type(task.network).__name__).cpu())


def _classifier(sgd: Sgd, descent: MinibatchDescent, team: Team) -> Classifier:
    training = _settings(descent)
    training |= {"products": "bfloat16" if training.pop("bfloat16") else "exact", "processes": team.size}
    return Classifier(sgd.trained.eval(), training, torch.tensor(sgd.losses, dtype=torch.float64), sgd.last_rate)


def _check(network: nn.Module, inputs: Tensor, descent: MinibatchDescent, shape: tuple[int, ...], team: Team) -> None:
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError("the network has no parameter to train; give it one, or leave the training out")
    if descent.bfloat16 and inputs.dtype != torch.float32:
        raise ConfigError(f"bfloat16 products need float32 inputs, but these are {inputs.dtype}; leave bfloat16 out")
    if descent.augmentation and (len(shape) != 3 or math.prod(shape) != inputs[0].numel()):
        raise ConfigError(
            f"augmentation = {list(descent.augmentation)} is of images, but an input has the shape {shape}; remove it, "
            "or use images"
        )
    side = min(shape[1:], default=0)
    if "crop" in descent.augmentation and descent.crop_fill == REFLECT and descent.crop_padding >= side:
        raise ConfigError(
            f"crop_padding = {descent.crop_padding} reflects more pixels than images of {shape[1]} x {shape[2]} have; "
            f"choose at most {side - 1}, or crop_fill = 'black'"
        )
    if len(inputs) < team.size:
        raise ConfigError(f"{len(inputs)} samples are too few for {team.size} processes; start fewer")
    if descent.batch_size % team.size:
        raise ConfigError(
            f"batch_size = {descent.batch_size} cannot be shared evenly by {team.size} processes; choose a multiple"
        )


def _check_labels(labels: Tensor, n_samples: int, n_classes: int, loss: str) -> None:
    if labels.is_floating_point() and len(labels) == n_samples > 0:
        return
    if n_samples == 0 or labels.shape != (n_samples,):
        raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit {n_samples} samples, at least one")
    if n_classes > 2 and loss != "logistic":
        raise ConfigError(
            f"loss = {loss!r} is of the margin of two classes, but there are {n_classes}; choose logistic"
        )
    # On a GPU a label out of range would end the program without a sentence.
    known = labels.abs() == 1 if n_classes == 2 else (labels >= 0) & (labels < n_classes)
    if not bool(known.all()):
        wanted = "+1 or -1" if n_classes == 2 else f"0 .. {n_classes - 1}"
        raise ValueError(f"label {int(labels[~known][0])} is none of {n_classes} classes; labels must be {wanted}")
