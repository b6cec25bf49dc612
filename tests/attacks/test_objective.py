"""What a network and a loss of the user's must return, and the sentences where they do not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import Iterate, input_gradient, minimum_norm, pgd, radial_pgd, run_attack, target_loss
from perturblearn.attacks.objective import Loss
from perturblearn.errors import ModelError

X = torch.rand(5, 6, generator=torch.Generator().manual_seed(0))
SIGNS = torch.tensor([1, -1, 1, -1, 1])
CLASSES = torch.tensor([0, 1, 2, 0, 1])
ATTACKS: list[Callable[..., Any]] = [radial_pgd, pgd, minimum_norm]


class Own(nn.Module):
    """Whatever a function makes of the inputs."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Any:
        return self.function(inputs)


def attacked(attack: Callable[..., Any], function: Callable[[Tensor], Any], targets: Tensor, **options: Any) -> Any:
    return attack(Own(function), X, targets, norm="l2", epsilon=0.5, steps=3, **options)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    ("function", "targets", "sentence"),
    [
        (lambda x: x.sum(), SIGNS, r"Own returned outputs of shape \(\) for 5 inputs, but attacks need \(n,\)"),
        (lambda x: x[:3].sum(dim=1), SIGNS, r"outputs of shape \(3,\) for 5 inputs"),
        (lambda x: x.view(5, 2, 3), CLASSES, r"outputs of shape \(5, 2, 3\) for 5 inputs"),
        (lambda x: x[:, :0], CLASSES, r"outputs of shape \(5, 0\) for 5 inputs"),
        (lambda x: (x, x), CLASSES, "Own returned tuple for 5 inputs"),
        (
            lambda x: x[:, 0],
            CLASSES,
            r"Own has one output per input, so targets must be \+1 or -1, but they run from 0",
        ),
        (lambda x: x[:, :1], 2 * SIGNS, "so targets must be .* but they run from -2 to 2"),
        (
            lambda x: x[:, :2],
            CLASSES,
            "Own has 2 outputs per input, so targets must lie between 0 and 1, but .* 0 to 2",
        ),
        (lambda x: x, SIGNS, "Own has 6 outputs per input, so targets must lie between 0 and 5, but .* -1 to 1"),
        (lambda x: x.log().sum(dim=1) * math.nan, SIGNS, "5 of 5 outputs of Own are NaN; look for NaN in its weights"),
        (lambda x: x.detach().sum(dim=1), SIGNS, "has no gradient in its inputs, which this attack follows"),
    ],
)
def test_outputs_that_cannot_be_used(
    attack: Callable[..., Any], function: Callable[[Tensor], Any], targets: Tensor, sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        attacked(attack, function, targets)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    ("loss", "said"),
    [(lambda f, y: f.mean(), r"\(\)"), (lambda f, y: f[:, None], r"\(5, 1\)"), (lambda f, y: 1, "int")],
)
def test_losses_that_cannot_be_used(attack: Callable[..., Any], loss: Callable[..., Any], said: str) -> None:
    with pytest.raises(ModelError, match=f"the loss returned {said} for 5 samples, but an attack needs one number"):
        attacked(attack, lambda x: x.sum(dim=1), -SIGNS.abs(), loss=loss)


@pytest.mark.parametrize("attack", ATTACKS)
def test_nan_on_the_way_is_told(attack: Callable[..., Any]) -> None:
    # A root whose gradient is infinite, and 0 times that: NaN after the first step, in two of five samples.
    def function(x: Tensor) -> Tensor:
        kinked = torch.where(torch.arange(5)[:, None] < 2, x - X, x)
        return x.sum(dim=1) + 0 * (kinked - 0.0).abs().sqrt().sum(dim=1)

    with pytest.raises(ModelError, match="outputs or losses of Own became NaN during the search, although none was"):
        attacked(attack, function, -SIGNS.abs(), block=5)


def test_losses_that_are_infinite_or_nan() -> None:
    # exp overflows, and so does its gradient, which then has no direction.
    with pytest.raises(ModelError, match="the loss or their gradient overflow: search in float32 or float64, or with"):
        attacked(pgd, lambda x: -1e3 * x.sum(dim=1), SIGNS.abs(), loss=lambda f, y: torch.exp(-y * f))
    # An infinite loss with a gradient: nothing is strictly lower, so the source stays.
    found = attacked(pgd, lambda x: x.sum(dim=1), SIGNS, loss=lambda f, y: math.inf - y * f)
    assert torch.equal(found.inputs, X)
    with pytest.raises(ModelError, match="became NaN"):
        attacked(pgd, lambda x: x.sum(dim=1), SIGNS, loss=lambda f, y: (f - 100).log())


def test_default_losses() -> None:
    outputs = torch.tensor([2.0, -3.0])
    assert target_loss(outputs, torch.tensor([1, 1])).tolist() == [-2.0, 3.0]
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    expected = [math.log(sum(math.exp(z) for z in (1, 2, 3))) - 3, math.log(3)]
    assert target_loss(logits, torch.tensor([2, 0])).tolist() == pytest.approx(expected, rel=1e-14)


def test_gradients_that_are_views_of_weights_are_not_written_to() -> None:
    """The gradient of a sum is one number expanded, that of a product with a weight may be the weight."""
    weight = torch.arange(1.0, 7.0)
    for attack in ATTACKS:
        for norm in ("l2", "linf"):
            for function in (lambda x: x.sum(dim=1), lambda x: x @ weight, lambda x: (x * weight).sum(dim=1)):
                module = Own(function)
                found = attack(module, X, SIGNS, norm=norm, epsilon=0.1, steps=2)
                assert found.losses.shape == (5,)
    assert weight.tolist() == [1, 2, 3, 4, 5, 6]


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - nn.functional.one_hot(targets, outputs.shape[1])).square().sum(dim=1) * 1e3


class Counting(nn.Linear):
    def __init__(self, outputs: int) -> None:
        torch.manual_seed(0)
        super().__init__(6, outputs)
        self.passes: list[tuple[torch.dtype, bool]] = []

    def forward(self, input: Tensor) -> Tensor:
        outputs = super().forward(input)
        self.passes.append((outputs.dtype, torch.is_grad_enabled()))
        return outputs


def test_no_pass_is_wasted() -> None:
    """As many forward-and-gradient passes as steps, and one more forward pass, which is the one that tells success."""
    for attack in (radial_pgd, pgd):
        for norm in ("l2", "linf"):
            module = Counting(3)
            attack(module, X, CLASSES, norm=norm, epsilon=0.5, steps=7)
            assert module.passes == [(torch.float32, True)] * 7 + [(torch.float32, False)]


def test_bfloat16_searches_in_bfloat16_and_judges_in_float32() -> None:
    module = Counting(3)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    found = pgd(module, X, CLASSES, norm="linf", epsilon=0.2, steps=7, bfloat16=True)
    short, full = torch.bfloat16, torch.float32
    # The best iterates are judged in float32, and the sources of those that have gained little.
    assert module.passes[:9] == [(short, True)] * 7 + [(short, False), (full, False)]
    assert module.passes[9:] in ([], [(full, False)])
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert all(parameter.dtype == full for parameter in module.parameters())
    with torch.no_grad():
        outputs = module(found.inputs)
    assert torch.equal(found.outputs, outputs)
    assert torch.equal(found.losses, nn.functional.cross_entropy(outputs, CLASSES, reduction="none"))
    # bfloat16 keeps 8 bits of the weights and of the softmax: a hundredth of the largest gradient entry decides the
    # sign of few.
    exact = pgd(module, X, CLASSES, norm="linf", epsilon=0.2, steps=7)
    with torch.no_grad():
        before = nn.functional.cross_entropy(module(X), CLASSES, reduction="none")
    assert bool((before - found.losses > 0.9 * (before - exact.losses)).all())


@pytest.mark.parametrize(("epsilon", "loss"), [(3e-3, None), (0.3, None), (3e-3, squares), (0.3, squares)])
@pytest.mark.parametrize("random_start", [False, True])
def test_no_sample_is_worse_off_than_at_its_source(epsilon: float, loss: Loss | None, random_start: bool) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 3))
    points, targets = torch.rand(200, 6), torch.randint(3, (200,))
    found = pgd(
        module, points, targets, norm="l2", epsilon=epsilon, steps=3, bfloat16=True, loss=loss,
        random_start=random_start, step=2.5,
    )  # fmt: skip
    with torch.no_grad():
        before = (loss or target_loss)(module(points), targets)
        after = (loss or target_loss)(module(found.inputs), targets)
    moved = (found.inputs != points).any(dim=1)
    assert bool((after[moved] < before[moved]).all())
    assert torch.allclose(after, found.losses)
    assert bool(moved.any())


def test_sources_are_judged_again_only_where_little_was_gained() -> None:
    module = Counting(3)
    pgd(module, X, CLASSES, norm="l2", epsilon=30.0, steps=4, bfloat16=True)
    assert module.passes[-1:] == [(torch.float32, False)]
    assert module.passes.count((torch.float32, False)) == 1
    module = Counting(3)
    pgd(module, X, CLASSES, norm="l2", epsilon=1e-3, steps=4, bfloat16=True)
    assert module.passes.count((torch.float32, False)) == 2


def test_bfloat16_on_images_with_buffers_and_what_the_module_makes_itself() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm, self.out = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
            self.mean = nn.Buffer(torch.full((1, 1, 1), 0.5))

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.norm(self.conv((inputs - self.mean) / torch.tensor(0.25))).relu()
            return self.out(hidden.mean(dim=(2, 3)) @ torch.eye(4))

    images = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    found = pgd(Scaled(), images, CLASSES, norm="l2", epsilon=0.5, steps=5, value_range=(0, 1), bfloat16=True)
    before = pgd(Scaled(), images, CLASSES, norm="l2", epsilon=0.0, steps=0)
    exact = pgd(Scaled(), images, CLASSES, norm="l2", epsilon=0.5, steps=5, value_range=(0, 1))
    # bfloat16 keeps 8 bits: the gain is the exact one to a few per cent.
    gains = (before.losses - found.losses) / (before.losses - exact.losses)
    assert torch.allclose(gains, torch.ones(5), rtol=0, atol=0.1)


def test_a_search_in_bfloat16_folds_normalisations_and_judges_without() -> None:
    """What is searched sees no BatchNorm; outputs, losses and success are the module's own."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    images = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    module(images)  # running statistics
    seen: list[int] = []

    class Watched(nn.BatchNorm2d):
        """Of another class, so that it is left where it is."""

        def forward(self, input: Tensor) -> Tensor:
            seen.append(len(input))
            return super().forward(input)

    watched = copy.deepcopy(module)
    watched[1] = Watched(4)
    watched.load_state_dict(module.state_dict())
    options: Any = {"norm": "l2", "epsilon": 1.0, "steps": 5, "value_range": (0, 1), "bfloat16": True}
    found, unfolded = (pgd(each, images, CLASSES, **options) for each in (module, watched))
    assert len(seen) >= 7
    with torch.no_grad():
        outputs = module.eval()(found.inputs)
    assert torch.equal(found.outputs, outputs)
    with torch.no_grad():
        before = nn.functional.cross_entropy(module(images), CLASSES, reduction="none")
    # Both are searches in bfloat16, whose gains differ by a few per cent.
    gains = (before - found.losses) / (before - unfolded.losses)
    assert torch.allclose(gains, torch.ones(5), rtol=0, atol=0.1)
    assert not torch.equal(found.inputs, unfolded.inputs)


def test_the_checks_of_the_other_entries() -> None:
    with pytest.raises(ModelError, match="Own has 6 outputs per input, whose gradient depends on the target"):
        input_gradient(Own(lambda x: x), X)
    with pytest.raises(ModelError, match="2 of 5 outputs of Own are NaN"):
        run_attack(
            lambda module, inputs, targets: inputs,
            Own(lambda x: torch.where(torch.arange(5) < 2, math.nan, x.sum(dim=1))),
            X, SIGNS, norm="l2", epsilon=1.0,
        )  # fmt: skip


def test_iterates_are_not_seen_under_a_gradient() -> None:
    seen: list[Iterate] = []
    pgd(nn.Linear(6, 3), X, CLASSES, norm="l2", epsilon=0.5, steps=2, callback=seen.append)
    assert [iterate.step for iterate in seen] == [0, 1, 2]
    assert not any(iterate.inputs.requires_grad or iterate.losses.requires_grad for iterate in seen)
