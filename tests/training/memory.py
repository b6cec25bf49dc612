"""How much memory tensors take at most while something runs."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_memory(work: Callable[[], object]) -> int:
    """Bytes that torch allocates on the CPU at most at one time, beyond what it had before; read from its profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = work()
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    taken = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        taken += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        most = max(most, taken)
    del kept
    return most
