"""One seed per run, one derived seed per stage and purpose, and the surroundings in which numbers are computed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any


def derive_seed(seed: int, *purpose: str) -> int:
    """A seed for one purpose, so that adding a stage never changes the random numbers of another stage.

    Args:
        seed: the run's seed, 0 or more.
        purpose: what the draws are for, from general to specific: ``"data", "training inputs"``.

    Returns:
        An integer in [0, 2**63) that depends only on the arguments.
    """
    # The unit separator keeps ("a", "bc") and ("ab", "c") apart. Python's own `hash` differs from process to process.
    text = "\x1f".join((str(seed), *purpose))
    # 63 bits fit into a signed 64-bit integer, whichever generator takes the seed.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """A block whose numbers depend on this seed, and on nothing that a program has set or drawn before.

    Inside, the global generators of Python, NumPy and PyTorch start at the seed, and settings are those of
    `default_settings`. Afterwards everything is as it was before, whatever code inside the block has done to it, also
    after an error.

    Args:
        seed: 0 or more.
    """
    import numpy as np
    import torch

    with default_settings(), ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002 - code of the user's may draw from it
        stack.callback(torch.set_rng_state, torch.get_rng_state())
        _keep_gpu_generators(stack, seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        # Not torch.manual_seed, which would also have CUDA wait to be initialised.
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def default_settings() -> Iterator[None]:
    """A block that a program's global settings do not reach, and that leaves them as they were.

    Inside, new tensors are float32 on the CPU, gradients are recorded, autocast is off, and products have PyTorch's own
    default precision.
    """
    import torch

    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.callback(_restore_default_device, torch.get_default_device())
        stack.callback(_restore_threads, torch.get_num_threads())
        _keep_precision(stack)
        torch.set_default_dtype(torch.float32)
        # Only where another device is the default: the mode that changes it slows every operation down.
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        # Not the context manager: inside another one, autocast keeps its copies of weights from step to step. Inside a
        # program's own it would too, unless it keeps none.
        stack.callback(torch.set_autocast_cache_enabled, torch.is_autocast_cache_enabled())
        torch.set_autocast_cache_enabled(False)
        for device in ("cpu", "cuda"):
            stack.callback(torch.set_autocast_enabled, device, torch.is_autocast_enabled(device))
            torch.set_autocast_enabled(device, False)
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        yield


def _restore_default_device(before: Any) -> None:
    import torch

    if torch.get_default_device() != before:
        torch.set_default_device(before)


def _restore_threads(before: int) -> None:
    import torch

    if torch.get_num_threads() != before:  # bits are equal only at an equal number
        torch.set_num_threads(before)


def _keep_gpu_generators(stack: ExitStack, seed: int) -> None:
    import torch

    if torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            stack.callback(generator.set_state, generator.get_state())
            generator.manual_seed(seed)
    elif torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)  # once they are there; until then they have no state to go back to


def _keep_precision(stack: ExitStack) -> None:
    import torch

    backends: Any = torch.backends  # whose types lack the newer settings
    # PyTorch 2.9 has one setting for each of these, beside an older one that sets several of them.
    newer: list[tuple[Any, str]] = []
    if hasattr(backends, "fp32_precision"):
        newer = [(backends, "none"), (backends.cudnn.conv, "tf32"), (backends.cudnn.rnn, "tf32")]
        newer += [(backends.cuda.matmul, "ieee")]
        newer += [(part, "ieee") for part in (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn)]
    before = [part.fp32_precision for part, _ in newer]

    def restore_newer() -> None:
        for (part, _), precision in zip(newer, before, strict=True):
            if part.fp32_precision != precision:
                part.fp32_precision = precision

    stack.callback(restore_newer)
    with suppress(RuntimeError):  # refused where a program has set both
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    with suppress(RuntimeError):
        stack.callback(setattr, backends.cudnn, "allow_tf32", backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True
    for part, precision in newer:
        if part.fp32_precision != precision:
            part.fp32_precision = precision
