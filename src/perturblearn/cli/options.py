"""Options that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from perturblearn.errors import ConfigError

if TYPE_CHECKING:
    from perturblearn.experiment import MakeExecutor

Flag = Parameter(negative=())
Together = Parameter(name="*")
"""A group of options, each under its own name."""

Arguments = Annotated[
    str,
    Parameter(
        name="[FILE] [--KEY VALUE ...]",
        help="A TOML file (without one: bundled digits, 3 against 8), then any of its keys by their dotted names, "
        "which are listed below.",
        allow_leading_hyphen=True,
    ),
]
DataDir = Annotated[Path | None, Parameter(help="Where named data lie; otherwise PERTURBLEARN_DATA.")]
Data = Annotated[
    str | None,
    Parameter(help="folder:PATH (one folder of images per class), npz:PATH, mnist and others: the key data.name."),
]
SkipBad = Annotated[bool, Flag, Parameter(help="Go on without images that cannot be read, and count them.")]
WithReport = Annotated[
    bool, Parameter(negative="--no-report", help="Write report.html, a page for the browser, into the result's folder.")
]
Out = Annotated[Path, Parameter(help="Folder for the result's own folder and for finished stages.")]


@dataclass(frozen=True)
class Cache:
    """Where finished stages go."""

    cache_dir: Annotated[
        Path | None,
        Parameter(
            help="Folder for finished stages in place of the one in --out, shared by all runs that name it; otherwise "
            "PERTURBLEARN_CACHE."
        ),
    ] = None
    cache_size: Annotated[
        str | None,
        Parameter(
            help="How large the cache may grow, such as 20GB: what was not used for longest is removed; otherwise "
            "PERTURBLEARN_CACHE_SIZE, and without that any size."
        ),
    ] = None


@dataclass(frozen=True)
class Telling:
    """How much is said."""

    quiet: Annotated[bool, Flag, Parameter(help="Show no progress and no table.")] = False
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False

    @property
    def shows_progress(self) -> bool:
        """Whether people are told how far it is."""
        return not (self.quiet or self.json)


@dataclass(frozen=True)
class Doing:
    """Whether stages run, and which."""

    plan: Annotated[bool, Flag, Parameter(help="Print the stages and what is finished, and stop.")] = False
    force: Annotated[bool, Flag, Parameter(help="Repeat stages that are finished.")] = False


@dataclass(frozen=True)
class Placing:
    """Where stages run."""

    executor: Annotated[
        Literal["in-process", "ray"],
        Parameter(
            help="In this process, or in Ray's tasks on many cores or machines (pip install 'perturblearn[ray]')."
        ),
    ] = "in-process"
    ray_address: Annotated[
        str | None,
        Parameter(help="The Ray cluster, or auto for the one on this machine; otherwise Ray is started here."),
    ] = None
    cpus: Annotated[int | None, Parameter(help="CPUs, and so threads, of each of Ray's tasks; 1 otherwise.")] = None
    gpus: Annotated[float | None, Parameter(help="GPUs of each of Ray's tasks, or its share of one, such as 0.25.")] = (
        None
    )
    threads: Annotated[int | None, Parameter(help="How many threads a stage has in this process.")] = None

    def make_executor(self) -> MakeExecutor:
        """What executes plans there.

        Raises:
            ConfigError: the options do not go together, or Ray is not installed.
        """
        from perturblearn.api.executors import executor

        return executor(
            self.executor.replace("-", "_"),
            address=self.ray_address,
            cpus=self.cpus,
            gpus=self.gpus,
            threads=self.threads,
        )


def put_data(keys: dict[str, Any], data: str | None = None, skip_bad: bool = False) -> None:
    """Put what --data and --skip-bad say among the keys.

    Raises:
        ConfigError: a key says the same already.
    """
    if data is not None:
        if "data.name" in keys:
            raise ConfigError(f"--data {data} and --data.name {keys['data.name']} say the same; give one of them")
        keys["data.name"] = data
    if skip_bad:
        keys["data.skip_bad"] = True
