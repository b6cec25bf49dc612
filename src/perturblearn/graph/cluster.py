"""What this package asks of Ray: processes on this machine or on many, without a word of Ray's own."""

from __future__ import annotations

import io
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from perturblearn.errors import ConfigError
from perturblearn.graph.dispatch import MachineDied, ProcessDied, ValueLost

PATIENCE = 60.0
"""Seconds to wait for a machine that can take a task, once there is none, before giving up."""
LOOK_EVERY = 2.0
"""Seconds between two looks at which machines there are."""


def require_ray() -> None:
    """Raise a ConfigError where Ray is not installed."""
    if find_spec("ray") is None:
        raise ConfigError(
            "the executor ray needs Ray, which is not installed; pip install 'perturblearn[ray]', or leave the "
            "executor out to run in this process"
        )


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray is there: as the program that calls has set it up, or else connected for a while.

    Args:
        address: of a cluster that runs, as host:port, or ``auto`` for the one on this machine; None starts Ray here.

    Raises:
        ConfigError: nothing that can be used answers at the address.
    """
    import ray
    from ray.exceptions import RayError

    if ray.is_initialized():
        yield
        return
    # Only the processes of this run are meant; those of a cluster have been started by somebody else.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    threads = set(threading.enumerate())
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        try:
            where = "local" if address is None else _answering(address)
            with _unheard():
                ray.init(address=where, log_to_driver=False, configure_logging=False, **local)
        except (OSError, RuntimeError, ValueError, RayError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise ConfigError(
                f"no Ray that can be used answers at {address or 'this machine'} ({reason}); start it with "
                "'ray start --head', correct the address, or leave it out to start Ray here for this run"
            ) from error
        with redirect_stdout(_WithoutThreads(sys.stdout, set(threading.enumerate()) - threads)):
            yield
    finally:
        # Ray prints on leaving what it has kept back so far.
        with redirect_stdout(io.StringIO()):
            ray.shutdown()
        logger.setLevel(level)


def _answering(address: str) -> str:
    """The address, if anything listens there; Ray itself would go on asking for minutes.

    Args:
        address: host:port, or ``auto`` for what `ray.init` documents: the variable ``RAY_ADDRESS``, then the cluster
            that was started last on this machine.
    """
    from ray.util import get_node_ip_address

    if address.startswith("ray://"):
        raise ValueError("through ray:// no values can be passed on; run on a machine of the cluster, with host:port")
    if address == "auto":
        last = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray/ray_current_cluster")
        address = os.environ.get("RAY_ADDRESS") or (last.read_text().strip() if last.is_file() else "auto")
        if address == "auto":
            return address  # Ray looks for processes of its own, and says at once if there are none
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("it is not host:port")
    # Ray may listen on the machine's own address alone, and takes it for localhost likewise.
    is_local = host in ("localhost", "127.0.0.1", "[::1]")
    socket.create_connection((get_node_ip_address() if is_local else host.strip("[]"), int(port)), timeout=10).close()
    return address


class _WithoutThreads:
    """Standard output without what some threads print.

    Ray's threads print what happens to its processes even with ``log_to_driver=False``, and to standard output, where a
    program may be reading JSON. People read about it in sentences of our own.
    """

    def __init__(self, stream: TextIO, silent: set[threading.Thread]) -> None:
        self._stream = stream
        self._silent = silent

    def write(self, text: str) -> int:
        """Write what other threads print."""
        return len(text) if threading.current_thread() in self._silent else self._stream.write(text)

    def flush(self) -> None:
        """Flush standard output."""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _unheard() -> Iterator[None]:
    """Nothing reaches standard error, not even from libraries that are no Python."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


class Cluster:
    """Calls functions that yield, elsewhere.

    Args:
        function: at module level; its values come back one by one.
        cpus: CPUs for each call.
        gpus: GPUs for each call, or a share of one.
        patience: seconds to wait for a machine that can take a call, while there is none.
    """

    def __init__(self, function: Callable[..., Any], *, cpus: int, gpus: float, patience: float) -> None:
        import ray

        # Calls that die are repeated by whoever made them, who knows what is still needed of them.
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "num_returns": "streaming", "max_retries": 0}
        self._remote = ray.remote(**options)(function)
        self._cpus = cpus
        self._gpus = gpus
        self._patience = patience
        self._slots = 0
        self._looked = self._seen = -1.0

    def slots(self) -> int:
        """How many calls can run at once; machines come and go.

        Raises:
            ConfigError: no machine is large enough for one, or none has been for too long.
        """
        import ray

        now = time.monotonic()
        if self._looked < 0 or now > self._looked + LOOK_EVERY:
            machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self._slots = sum(self._fitting(machine) for machine in machines)
            self._looked = now
            if self._slots or self._seen < 0:
                self._seen = now
            if not self._slots and now >= self._seen + self._patience:
                raise ConfigError(self._refusal(machines))
        return self._slots

    def _fitting(self, machine: dict[str, float]) -> int:
        fitting = machine.get("CPU", 0.0) // self._cpus
        if self._gpus:
            gpus = machine.get("GPU", 0.0)
            # What is left of one GPU does not add up with what is left of another.
            fitting = min(fitting, gpus // self._gpus if self._gpus >= 1 else gpus * (1 // self._gpus))
        return int(fitting)

    def _refusal(self, machines: Iterable[dict[str, float]]) -> str:
        wanted = f"cpus = {self._cpus}" + (f" and gpus = {self._gpus:g}" if self._gpus else "")
        largest = max((machine.get("CPU", 0.0) for machine in machines), default=0.0)
        gpus = max((machine.get("GPU", 0.0) for machine in machines), default=0.0)
        return (
            f"no machine that Ray knows of can run a task with {wanted}: the largest have {largest:g} CPUs and "
            f"{gpus:g} GPUs; choose fewer, or add machines and start again"
        )

    def put(self, value: Any) -> Any:
        """A reference to a value of this process."""
        import ray

        return ray.put(value)

    def call(self, *arguments: Any) -> Any:
        """Begin a call; references among the arguments become their values."""
        return self._remote.remote(*arguments)

    def wait(self, calls: Sequence[Any]) -> list[Any]:
        """Calls that have yielded something or have ended; none if nothing happens for a while."""
        import ray

        if not calls:  # all machines have gone
            time.sleep(LOOK_EVERY)
            return []
        return ray.wait(list(calls), num_returns=1, timeout=LOOK_EVERY, fetch_local=False)[0]

    def next(self, call: Any) -> Any:
        """A reference to what a call has yielded.

        Raises:
            ProcessDied: it has ended before.
        """
        try:
            return next(call)
        except StopIteration:
            self.get(call.completed())
            raise ProcessDied("it ended before its time") from None

    def get(self, reference: Any) -> Any:
        """The value of a reference.

        Raises:
            ProcessDied: there is none, because the call has died, or it is lost.
            ConfigError: the function could not be called there at all.
            ValueLost: one that was an argument of the call is lost.
        """
        import ray
        from ray.exceptions import NodeDiedError, ObjectLostError, RayError, RaySystemError, RayTaskError

        try:
            return ray.get(reference)
        except RayTaskError as error:  # first: it is also an error of the kind that it was caused by
            # Ray has a system error for an argument that is there but cannot be read.
            if isinstance(error.cause, RayError) and not isinstance(error.cause, RaySystemError):
                raise ValueLost(type(error.cause).__name__) from error
            raise ConfigError(
                f"Ray's processes cannot run perturblearn's tasks ({str(error.cause).splitlines()[0]}); install the "
                "same version on all machines"
            ) from error
        except (NodeDiedError, ObjectLostError) as error:
            raise MachineDied("its machine is gone") from error
        except RayError as error:
            raise ProcessDied(type(error).__name__) from error

    def is_lost(self, reference: Any) -> bool:
        """Whether its value can be had no more; False if that is not known.

        What a call has yielded is lost with its machine, and may be with its process until that has said that it ended.
        """
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        try:
            ray.get(reference, timeout=0)
        except GetTimeoutError:  # it is elsewhere
            return False
        except RayError:
            return True
        return False

    def cancel(self, calls: Iterable[Any]) -> None:
        """End calls that nobody needs any more."""
        import ray
        from ray.exceptions import RayError

        for call in calls:
            with suppress(ValueError, RayError):  # ended by itself, or with its machine
                ray.cancel(call, force=True)
