"""Pictures and pages of a folder of results: they never cost the result, whatever goes wrong while they are made."""

# Matplotlib is typed in part.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Some = TypeVar("Some")
_BACKEND = "MPLBACKEND"


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


def picture(draw: Callable[[], Figure], *, dpi: int = 130) -> Drawing:
    """A PNG file of a matplotlib figure, the same whatever matplotlib's settings are.

    Args:
        draw: makes the figure.
        dpi: dots per inch.
    """

    def make(_: Path) -> bytes:
        content = io.BytesIO()
        with own_settings():
            draw().savefig(content, format="png", dpi=dpi)
        return content.getvalue()

    return Drawing(make)


@contextmanager
def own_settings() -> Generator[None, None, None]:
    """Matplotlib with the defaults that it comes with, whatever the user's matplotlibrc, style and backend are."""
    _import_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def _import_matplotlib() -> None:
    """Import matplotlib although MPLBACKEND names a backend that is not installed, with which it refuses to load."""
    if "matplotlib" in sys.modules:
        return
    wanted = os.environ.pop(_BACKEND, None)
    try:
        import matplotlib
    finally:
        if wanted is not None:
            os.environ[_BACKEND] = wanted
    if wanted:  # as matplotlib does when it is imported, for the user's own figures in this process
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = wanted
