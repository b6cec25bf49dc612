"""Options that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from perturblearn.errors import ConfigError

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
