"""What all tests share: where data is found, how long loops run, and when a skipped test is a failure."""

from __future__ import annotations

import tests.surroundings  # before anything imports NumPy or PyTorch

# isort: split
import atexit
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import jaxtyping
import pytest
import tests.shapes  # noqa: F401 - before the rooms whose shapes it checks
from hypothesis import HealthCheck, settings

DATA_VARIABLE = "PERTURBLEARN_DATA"
REQUIRE_DATA_VARIABLE = "PERTURBLEARN_REQUIRE_DATA"
STRESS_VARIABLE = "PERTURBLEARN_STRESS"
CACHE_VARIABLES = ("PERTURBLEARN_CACHE", "PERTURBLEARN_CACHE_SIZE")

# Nothing that is drawn at random has a deadline: how long it takes says how busy the machine is.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# What is imported and collected stays to the end; looking for garbage in it takes seconds, each time again.
gc.disable()


def is_switched_on(variable: str) -> bool:
    """Whether an environment variable is 1, as opposed to 0, empty or unset."""
    value = os.environ.get(variable, "")
    if value not in ("", "0", "1"):
        raise pytest.UsageError(f"{variable} must be 0 or 1, not {value!r}")
    return value == "1"


def stress_count(full: int, quick: int | None = None) -> int:
    """How often a kill, fuzz or load loop runs: a tenth of `full`, at least once; `full` if PERTURBLEARN_STRESS=1.

    `quick` stands for the tenth where even that takes long.
    """
    if is_switched_on(STRESS_VARIABLE):
        return full
    return quick if quick is not None else max(1, full // 10)


@pytest.fixture(name="stress_count")
def stress_count_fixture() -> Callable[..., int]:
    """`stress_count` for tests that need it while they run; it marks them as stress."""
    return stress_count


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of data sets."""
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        pytest.skip(f"{DATA_VARIABLE} is not set")
    path = Path(value)
    if not path.is_dir():
        pytest.skip(f"{DATA_VARIABLE} is no folder: {value}")
    return path


@pytest.fixture(autouse=True, scope="session")
def no_cache_of_the_developer_s() -> Iterator[None]:
    """Runs of the tests, subprocesses included, neither find nor leave anything in a cache that is set up here."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in CACHE_VARIABLES:
            patch.delenv(variable, raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def signatures_are_read_once() -> Iterator[None]:
    """Reading a command's options from its signature takes as long as a tiny network's training."""
    from tests.parsing import App, assemble_once

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "assemble_argument_collection", assemble_once)
        yield


def draw_one_pixel(patch: pytest.MonkeyPatch) -> None:
    """Make figures empty, pictures on disk one grey pixel, and decision maps 9 points wide.

    Either takes longer than a tiny run, and tests/report and tests/theory draw them.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    def save_one_pixel(_: Figure, file: IO[bytes], *, format: str, metadata: object) -> None:
        Image.new("L", (1, 1), 128).save(file, format)

    patch.setattr(Figure, "savefig", save_one_pixel)
    for drawing in ("to_matplotlib", "examples"):
        patch.setattr(f"perturblearn.report.charts.{drawing}.figure_of", lambda *_: Figure())
    patch.setattr("perturblearn.experiment.maps.MAP_POINTS", 9)


@pytest.fixture
def undrawn_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """`draw_one_pixel` for one test."""
    draw_one_pixel(monkeypatch)


@pytest.fixture(scope="session")
def finished_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what examples compute: several train the same networks of the digits."""
    return tmp_path_factory.mktemp("finished-stages")


@pytest.fixture
def shared_stages(finished_stages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one example has computed is found by the next."""
    monkeypatch.setenv(CACHE_VARIABLES[0], str(finished_stages))


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """Tensors are float64 unless somebody says otherwise, as in a user's session that set it so."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Shape types are not checked, as for users: for tests of what the package itself says to a wrong shape."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class SkippedForData:
    """Turns tests that were skipped for want of data into a failure of the session."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple) and DATA_VARIABLE in report.longrepr[2]:
            self.skipped.append(report.nodeid)  # under pytest -n all reports reach the first process, which says this

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.skipped and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost, so that this is the last thing said
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        yield
        if self.skipped:
            terminalreporter.section(f"{REQUIRE_DATA_VARIABLE}=1, but data is missing", red=True)
            terminalreporter.line(
                f"{len(self.skipped)} skipped for want of {DATA_VARIABLE}, which counts as failed: "
                + ", ".join(self.skipped)
            )


def pytest_configure(config: pytest.Config) -> None:
    is_switched_on(STRESS_VARIABLE)
    if is_switched_on(REQUIRE_DATA_VARIABLE):
        config.pluginmanager.register(SkippedForData(), "skipped-for-data")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # for libraries that complain of what is left


@pytest.hookimpl(tryfirst=True)  # before -m selects by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "stress_count" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stress)
    if not is_switched_on(STRESS_VARIABLE):
        long = [item for item in items if item.get_closest_marker("long")]
        if long:
            items[:] = [item for item in items if item not in set(long)]
            config.hook.pytest_deselected(items=long)
