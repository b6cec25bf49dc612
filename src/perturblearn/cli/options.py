"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from perturblearn.errors import ConfigError

if TYPE_CHECKING:
    from perturblearn.api import RunOptions
    from perturblearn.config import JSON

Flag = Parameter(negative=(), show_default=False)
Flattened = Parameter(name="*")
"""A group of options, each under its own name."""


def arguments(name: str, help: str) -> Parameter:
    """The words of a command that are not options: a file or a name, then keys and values."""
    return Parameter(name=name, help=help, allow_leading_hyphen=True)


Arguments = Annotated[
    str,
    arguments(
        "[FILE] [--KEY VALUE ...]",
        "A TOML file (default: the bundled digits, 3 against 8), then any keys by their dotted names, listed below.",
    ),
]
Data = Annotated[
    str | None,
    Parameter(
        help="The data: folder:PATH (one folder of images per class), npz:PATH, mnist and others. Sets key data.name."
    ),
]
DataDir = Annotated[Path | None, Parameter(help="Folder of named data sets (default: PERTURBLEARN_DATA).")]
Out = Annotated[Path, Parameter(help="Folder for results and finished stages.")]
Track = Annotated[
    str | None,
    Parameter(
        help="Experiment trackers that are handed the result: tensorboard, mlflow or wandb, with commas between."
    ),
]


@dataclass(frozen=True)
class DataOptions:
    """Where the data come from."""

    data: Data = None
    data_dir: DataDir = None
    skip_bad: Annotated[bool, Flag, Parameter(help="Skip images that cannot be read, and report how many.")] = False

    def set_keys(self, keys: dict[str, JSON]) -> None:
        """Set the keys that these options stand for.

        Raises:
            ConfigError: a key is set already.
        """
        set_data(keys, self.data)
        if self.skip_bad:
            keys["data.skip_bad"] = True


def set_data(keys: dict[str, JSON], data: str | None) -> None:
    """Set the key that --data stands for.

    Raises:
        ConfigError: the key is set already.
    """
    if data is not None:
        if "data.name" in keys:
            raise ConfigError(f"--data {data} and --data.name {keys['data.name']} set the same key; give only one")
        keys["data.name"] = data


@dataclass(frozen=True)
class OutputOptions:
    """What is printed."""

    quiet: Annotated[bool, Flag, Parameter(help="Print no progress and no table.")] = False
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False


@dataclass(frozen=True)
class ProgressOptions(OutputOptions):
    """The same for commands that take their time."""

    verbose: Annotated[
        bool, Parameter(name=("--verbose", "-v"), negative=(), show_default=False, help="Tell of every finished stage.")
    ] = False

    @property
    def shows_progress(self) -> bool:
        """Whether people see the progress.

        Raises:
            ConfigError: more and nothing are asked for.
        """
        if self.quiet and self.verbose:
            raise ConfigError("--quiet and --verbose contradict each other; give only one")
        return self.verbose or not (self.quiet or self.json)


@dataclass(frozen=True)
class ExecutionOptions:
    """What runs, and where finished stages are kept."""

    cache_dir: Annotated[
        Path | None,
        Parameter(
            help="Folder for finished stages, shared by all runs that name it (default: PERTURBLEARN_CACHE, otherwise "
            "a folder in --out)."
        ),
    ] = None
    cache_size: Annotated[
        str | None,
        Parameter(
            help="Limit of the cache, such as 20GB; the least recently used stages are removed first (default: "
            "PERTURBLEARN_CACHE_SIZE, otherwise no limit)."
        ),
    ] = None
    force: Annotated[bool, Flag, Parameter(help="Repeat what is already finished.")] = False
    plan: Annotated[
        bool, Flag, Parameter(help="Print what would run, what is finished and what it costs, and stop.")
    ] = False
    threads: Annotated[
        int | None, Parameter(help="Most threads of a stage (default: PyTorch's); those with small steps have one.")
    ] = None

    def run_options(self, out: Path) -> RunOptions:
        """The same for the API.

        Args:
            out: where results go.

        Raises:
            ConfigError: there are fewer threads than one.
        """
        from perturblearn.api import RunOptions, executor

        return RunOptions(
            out=out,
            cache_dir=self.cache_dir,
            cache_size=self.cache_size,
            force=self.force,
            executor=executor(threads=self.threads),
        )


@dataclass(frozen=True)
class FigureOptions(ExecutionOptions):
    """The same, with figures."""

    format: Annotated[
        str | None, Parameter(help="What figures are written as: some of png,pdf,svg (default: png).")
    ] = None
    style: Annotated[
        str | None,
        Parameter(
            help="What figures look like: a matplotlib style file, or the name of one of its styles (default: ours)."
        ),
    ] = None

    def run_options(self, out: Path) -> RunOptions:
        """The same for the API.

        Raises:
            ConfigError: there is no such format or style.
        """
        formats = None if self.format is None else [name.strip() for name in self.format.split(",")]
        return replace(super().run_options(out), formats=formats, style=self.style)


@dataclass(frozen=True)
class ReportOptions(FigureOptions):
    """The same, with a page for the browser."""

    report: Annotated[
        bool,
        Parameter(
            negative="--no-report",
            help="Write report.html, a page for the browser, and figures with the result. Without it, figures are only "
            "drawn where --format or --style asks for them.",
        ),
    ] = True

    def run_options(self, out: Path) -> RunOptions:
        """The same for the API."""
        return replace(super().run_options(out), report=self.report)


@dataclass(frozen=True)
class ManyRunsOptions(ExecutionOptions):
    """The same for many runs, which may run in many places, and of which some may fail."""

    retry: Annotated[bool, Flag, Parameter(help="Repeat runs that failed before.")] = False
    executor: Annotated[
        Literal["in-process", "ray"],
        Parameter(
            help="Where runs are computed: in this process, or with Ray on many cores or machines (pip install "
            "'perturblearn[ray]')."
        ),
    ] = "in-process"
    ray_address: Annotated[
        str | None,
        Parameter(
            help="Address of the Ray cluster, or auto for the one on this machine (default: Ray is started here)."
        ),
    ] = None
    cpus: Annotated[int | None, Parameter(help="CPUs, and so threads, of each Ray task (default: 1).")] = None
    gpus: Annotated[
        float | None, Parameter(help="GPUs of each Ray task, or its share of one, such as 0.25 (default: none).")
    ] = None

    def run_options(self, out: Path) -> RunOptions:
        """The same for the API.

        Raises:
            ConfigError: the options do not go together, or Ray is not installed.
        """
        from perturblearn.api import executor

        make_executor = executor(
            self.executor.replace("-", "_"),
            address=self.ray_address,
            cpus=self.cpus,
            gpus=self.gpus,
            threads=self.threads,
        )
        return replace(super().run_options(out), retry=self.retry, executor=make_executor)


@dataclass(frozen=True)
class ReproduceOptions(FigureOptions, ManyRunsOptions):
    """The same for many runs of which figures are drawn."""
