"""Figures and pages of a folder of results: they never cost the result, whatever goes wrong while they are made."""

# Matplotlib is typed in part.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from perturblearn.config import JSON, Keys
from perturblearn.errors import ConfigError

if TYPE_CHECKING:
    from cycler import Cycler
    from matplotlib import RcParams
    from matplotlib.figure import Figure

Some = TypeVar("Some")
Style = Mapping[str, "JSON | Cycler[str, JSON]"] | str | os.PathLike[str]
"""Settings of matplotlib by their name, a style file, or the name of a style that matplotlib comes with."""
FORMATS = ("png", "pdf", "svg")
"""What figures are written as."""
_BACKEND = "MPLBACKEND"
_REFUSED = ("backend", "text.usetex")
"""Settings that are no matter of style, and LaTeX, which would read formulas into names."""
_OURS: Keys = {
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "figure.titlesize": 9.5,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "lines.linewidth": 1.4, "lines.markersize": 4.5, "axes.spines.top": False, "axes.spines.right": False,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # publishers refuse fonts of type 3
    "svg.hashsalt": "perturblearn",  # equal figures are equal files
}  # fmt: skip
"""Where our figures depart from matplotlib's defaults."""


@dataclass(frozen=True)
class Drawing:
    """A file that shows what other files of its folder hold.

    It is made once all these are written, and left out with a warning where that fails.

    Args:
        make: the content of the file, of the folder as far as it is written.
    """

    make: Callable[[Path], bytes]


def drawn_or_warned(make: Callable[[], Some], shown: Path) -> Some | None:
    """What is made to show a result; None with a warning where it cannot be made.

    Args:
        make: makes it.
        shown: the file that it is for.
    """
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - whatever it is, a result is worth more than its picture
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"{shown} could not be drawn ({reason}); the results are complete without it", stacklevel=3)
        return None


@dataclass(frozen=True)
class FigureOptions:
    """How figures are written.

    Args:
        formats: some of `FORMATS`; none where no figure is drawn.
        style: what they look like where that is not ours; colours of f, g and controls stay.

    Raises:
        ConfigError: there is no such format or style, or a setting of the style is none of matplotlib's.
    """

    formats: tuple[str, ...] = ("png",)
    style: Style | None = None

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise ConfigError(
                    f"format = {name!r}, but figures are written as {', '.join(FORMATS)}; choose of these"
                )
        if len(set(self.formats)) < len(self.formats):
            told = ", ".join(self.formats)
            raise ConfigError(f"format = {told}, but it must name each format once; choose of {', '.join(FORMATS)}")
        if self.style is not None:  # without one matplotlib need not be imported yet
            settings_of(self.style)


DrawFigure = Callable[[Path, Style | None], "Figure"]
"""Draws a figure of the files in a folder, in a style."""


def figure_files(name: str, draw: DrawFigure, options: FigureOptions) -> Iterator[tuple[str, Drawing]]:
    """A figure as a file of each format, the same whatever matplotlib's settings are.

    Args:
        name: of the files, without an ending.
        draw: makes the figure.
        options: formats and style.
    """

    def make(folder: Path, format: str) -> bytes:
        content = io.BytesIO()
        # The day it was written would make equal figures unequal.
        undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(format)
        draw(folder, options.style).savefig(content, format=format, metadata=undated)
        return content.getvalue()

    for format in options.formats:
        yield f"{name}.{format}", Drawing(partial(make, format=format))


def settings_of(style: Style | None) -> RcParams:
    """The settings of matplotlib that a style has, none without a style.

    Raises:
        ConfigError: there is no such style, or a setting is none of matplotlib's.
    """
    # Any: matplotlib's types know single settings by name, and these come from the user.
    matplotlib: Any = _imported_matplotlib()
    import matplotlib.style as styles

    library: Any = styles.library
    if style is None or isinstance(style, Mapping):
        given = style or {}
    elif Path(style).is_file():
        given = _in_file(Path(style))
    elif str(style) in library:
        given = library[str(style)]
    else:
        raise ConfigError(
            f"style = {os.fspath(style)!r}, but there is no such file, and matplotlib has no style of that name; name "
            "a style file, or a style such as grayscale"
        )
    refused = [name for name in given if name in _REFUSED and given[name]]
    if refused:
        raise ConfigError(f"the style sets {refused[0]}, which figures cannot follow; leave it out")
    try:
        return matplotlib.RcParams(given)
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error.args[0]).split()).partition(" See rcParams.keys")[0].rstrip(".")
        raise ConfigError(f"the style cannot be used ({reason}); correct this setting of matplotlib") from None


def _in_file(path: Path) -> RcParams:
    """The settings in a style file."""
    matplotlib: Any = _imported_matplotlib()
    try:
        names = [line.partition(":")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
        # Matplotlib only logs a name that it does not know.
        unknown = [name for name in names if name and name[0] != "#" and name not in matplotlib.rcParams]
        if unknown:
            raise ConfigError(f"the style {path} sets {unknown[0]!r}, which is no setting of matplotlib; correct it")
        return matplotlib.rc_params_from_file(path, fail_on_error=True, use_default_template=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"the style {path} cannot be read ({reason}); name a style file of matplotlib") from None


@contextmanager
def own_settings(style: RcParams | None = None) -> Generator[None, None, None]:
    """Our own settings of matplotlib, whatever the user's matplotlibrc, style and backend are.

    Args:
        style: settings that replace some of these.
    """
    matplotlib: Any = _imported_matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_OURS, **(style or {})})
        yield


def _imported_matplotlib() -> ModuleType:
    """Matplotlib, imported although MPLBACKEND names a backend that is not installed, with which it refuses to load."""
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    wanted = os.environ.pop(_BACKEND, None)
    try:
        import matplotlib
    finally:
        if wanted is not None:
            os.environ[_BACKEND] = wanted
    if wanted:  # as matplotlib does when it is imported, for the user's own figures in this process
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = wanted
    return matplotlib
