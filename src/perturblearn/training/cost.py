"""What each form of full-batch training costs, and which one is chosen.

A form is where the units' states live. With N samples of dimension d, q coordinates, U hidden units in all and T
epochs, in floating-point operations:

- plain: 4 N d U T.
- row space: 4 N q U T, q the rank of the inputs, after a factorisation.
- low rank: the same, where the factors are known, as for bare one-step perturbations (q at most the width of f).
- Gram: 2 N^2 U T, after a Gram matrix of 2 N^2 q.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from perturblearn.errors import ConfigError
from perturblearn.training.dense import BLOCK
from perturblearn.training.form import Form, form_words
from perturblearn.training.row_space import ROWS

MEMORY = 3 * 2**29
"""Bytes that training may take beside inputs and networks, 1.5 GiB; the choice of a form depends on it."""
MOST_UNITS = 1024
"""Hidden units that train in one wide product: wider ones are no quicker."""
_PASSES = 8
"""Passes over the activations in an epoch, beside the products."""
_CALLS = 25
"""Calls of torch in an epoch."""


@dataclass(frozen=True)
class Rates:
    """How fast a machine is.

    Args:
        products: floating-point operations per second in matrix products, by precision: float32, float64, bfloat16.
        passes: numbers per second in a pass over memory.
        calls: seconds that a call of torch costs at least.
    """

    products: dict[str, float]
    passes: float
    calls: float


NOMINAL = Rates({"float32": 1.5e11, "float64": 7e10, "bfloat16": 6e11}, 1e10, 5e-6)
"""The rates by which forms are chosen, about those of two cores: the choice must not depend on a measurement."""


@dataclass(frozen=True)
class Group:
    """Networks that train side by side, as far as they matter for the cost.

    Args:
        units: hidden units of all of them.
        epochs: how long they train.
        identity: whether their loss is the identity, so that training goes from flip to flip.
        width: hidden units of one.
        kept: states that are kept until the end, in hidden units: one for each checkpoint of a network.
    """

    units: int
    epochs: int
    identity: bool
    width: int
    kept: int = 0


@dataclass(frozen=True)
class Cost:
    """What training takes in one form.

    Args:
        form: the form.
        operations: floating-point operations in matrix products, every product dense.
        memory: bytes beside the inputs, at most.
        networks: how many of these are the networks themselves, as they start and as they end.
        seconds: by some `Rates`.
    """

    form: Form
    operations: float
    memory: int
    networks: int
    seconds: float


@dataclass(frozen=True)
class Choice:
    """The form that was chosen, with what it costs and why.

    Args:
        cost: of this form.
        reason: why, in words that a plan shows.
    """

    cost: Cost
    reason: str

    @property
    def form(self) -> Form:
        """The form's name."""
        return self.cost.form


def form_cost(
    form: Form,
    n_samples: int,
    input_dim: int,
    groups: Sequence[Group],
    *,
    rank: int | None = None,
    dtype: str = "float32",
    bfloat16: bool = False,
    rates: Rates = NOMINAL,
) -> Cost:
    """What a form costs for some inputs and networks.

    Args:
        form: one of `training.FORMS`.
        n_samples, input_dim: shape of the inputs.
        groups: the networks.
        rank: coordinates q: of the known factors for ``low_rank`` (and for a Gram matrix made from them), of the inputs
            for ``row_space``; by default the largest that the shape allows.
        dtype: float32 or float64.
        bfloat16: whether products are in bfloat16.
        rates: of the machine.
    """
    size = 8 if dtype == "float64" else 4
    full = min(n_samples, input_dim)
    # Without a known rank the worst one: a plan may promise too little, but not too much.
    q = input_dim if form == "plain" else full if rank is None else rank
    units = sum(group.units for group in groups)
    if form == "gram":
        q = input_dim if rank is None else rank
        before = 2.0 * n_samples * n_samples * q
        epoch, state = 2.0 * n_samples * n_samples, n_samples
        between = 2.0 * n_samples * (q + input_dim) * units
        # The matrix, and what the units give on every sample as they start.
        memory = n_samples * (n_samples + max((group.units for group in groups), default=0)) * size
    else:
        epoch, state, before = 4.0 * n_samples * q, q, 0.0
        between = 0.0 if form == "plain" else 4.0 * q * input_dim * units
        memory = 0 if form == "plain" else n_samples * q * size + q * input_dim * size
        if form == "row_space":
            # A Gram matrix of the smaller side and its eigenvectors, whose cost is some 20 r^3.
            before = 2.0 * n_samples * input_dim * (full + q) + 20.0 * full**3
            rows = min(n_samples, ROWS) if dtype == "float32" and n_samples >= input_dim else n_samples
            memory += (2 * rows * input_dim + 3 * full * full) * 8
    work = sum(epoch * group.units * group.epochs for group in groups)
    if bfloat16:
        # Copies of the matrix and of the states in bfloat16, beside the exact ones that are updated.
        memory += (n_samples * n_samples if form == "gram" else n_samples * q) * 2
        memory += max((group.units for group in groups), default=0) * (state + n_samples) * 2
    memory += max((group.kept for group in groups), default=0) * state * size
    memory += max((_working_memory(group, n_samples, state, size) for group in groups), default=0)
    networks = 2 * units * input_dim * size
    seconds = (before + between) / rates.products[dtype] + work / rates.products["bfloat16" if bfloat16 else dtype]
    for group in groups:
        numbers = group.units * (_PASSES * n_samples + 4 * state)
        loops = group.units // group.width if group.identity else 1
        seconds += group.epochs * (numbers / rates.passes + _CALLS * loops * rates.calls)
    return Cost(form, before + between + work, int(memory) + networks, networks, seconds)


def flip_memory(width: int, n_samples: int, state: int, size: int) -> int:
    """Bytes of training one network from flip to flip: motions of states and images, signs, work, lists of flips."""
    return width * (3 * state + 12 * n_samples) * size


def _working_memory(group: Group, n_samples: int, state: int, size: int) -> int:
    dense = (4 * group.units * state + min(group.units * n_samples, max(BLOCK, group.units)) * 2) * size
    if not group.identity:
        return dense
    flips = flip_memory(group.width, n_samples, state, size) + group.units * state * size
    return flips if flips <= MEMORY else dense


def choose_form(
    n_samples: int,
    input_dim: int,
    groups: Sequence[Group],
    *,
    known_rank: int | None = None,
    dtype: str = "float32",
    bfloat16: bool = False,
    form: Form | None = None,
    memory: int = MEMORY,
) -> Choice:
    """The quickest form that fits into the memory, by nominal rates: it follows from shapes and precision alone.

    Row space is not among the candidates, because a rank is not known before a factorisation; `full_batch` looks for
    one where that costs little beside the form chosen here.

    Args:
        n_samples, input_dim: shape of the inputs.
        groups: the networks.
        known_rank: coordinates of the inputs' known factors, if there are any.
        dtype: float32 or float64.
        bfloat16: whether products are in bfloat16.
        form: a form to take in any case.
        memory: bytes to fit into.

    Raises:
        ConfigError: ``low_rank`` is asked for, but the inputs come without factors.
    """

    def cost(name: Form) -> Cost:
        rank = None if name == "plain" else known_rank
        return form_cost(name, n_samples, input_dim, groups, rank=rank, dtype=dtype, bfloat16=bfloat16)

    if form is not None:
        if form == "low_rank" and known_rank is None:
            raise ConfigError(
                "form = 'low_rank' needs inputs with known factors, which only bare one-step perturbations in l2 of a "
                "classifier narrower than the inputs have; choose plain, row_space or gram"
            )
        return Choice(cost(form), "asked for")
    names: list[Form] = ["plain", "gram"] if known_rank is None else ["plain", "low_rank", "gram"]
    costs = [cost(name) for name in names]
    # The networks themselves have to be held in any form, so they are no reason for or against one.
    fitting = [each for each in costs if each.memory - each.networks <= memory]
    fitting = fitting or [min(costs, key=lambda each: each.memory)]
    best = min(fitting, key=lambda each: each.seconds)
    others = ", ".join(
        f"{form_words(each.form)} {each.operations:.1e}"
        + (
            ""
            if each in fitting
            else f" and {(each.memory - each.networks) / 2**30:.1f} GiB, more than {memory / 2**30:.1f}"
        )
        for each in costs
        if each is not best
    )
    return Choice(best, f"{best.operations:.1e} operations ({others})")


def is_worth_factorising(n_samples: int, input_dim: int, groups: Sequence[Group], chosen: Cost) -> bool:
    """Whether looking for a low rank costs at most a twentieth of training, by nominal rates.

    Args:
        n_samples, input_dim: shape of the inputs.
        groups: the networks that are to be trained.
        chosen: what training costs without it.
    """
    trial = form_cost("row_space", n_samples, input_dim, groups, rank=0)
    alone = form_cost("row_space", n_samples, input_dim, (), rank=0)
    return trial.memory - trial.networks <= MEMORY and 20 * alone.seconds <= chosen.seconds


def measure_rates(*, repeats: int = 3, device: str = "cpu") -> Rates:
    """The rates of this machine, from a fraction of a second of products, passes and calls.

    Args:
        repeats: how often each is timed; the quickest counts.
        device: where.
    """

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize(device)

    def quickest(work: Callable[[], object]) -> float:
        work()  # the first call also loads kernels and reserves memory
        wait()
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            work()
            wait()
            times.append(time.perf_counter() - started)
        # The least: whatever else the machine does can only make a repeat slower.
        return min(times)

    side = 1024 if device == "cpu" else 8192
    products = {}
    for name in NOMINAL.products:
        matrix = torch.randn(side, side, device=device).to(getattr(torch, name))
        products[name] = 2.0 * side**3 / quickest(lambda matrix=matrix: matrix @ matrix)
    long, short = torch.randn(2**22, device=device), torch.randn(16, device=device)

    def many_calls() -> None:
        for _ in range(100):
            short.mul_(1.0)

    return Rates(products, len(long) / quickest(lambda: long.clamp_min_(0)), quickest(many_calls) / 100)
