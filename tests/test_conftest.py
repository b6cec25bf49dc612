"""How the tests are run, by whoever runs them: side by side, in the background, with or without data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import DATA_VARIABLE, REQUIRE_DATA_VARIABLE, STRESS_VARIABLE

ROOT = Path(__file__).parents[1]
THREE_TESTS = """
import pytest
def test_on_data(data_dir): ...
def test_quick(): ...
@pytest.mark.long
def test_long(): ...
"""


@pytest.fixture
def run_three_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs a small suite with the present settings: exit code and output."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_three.py").write_text(THREE_TESTS)
    for name in ("pyproject.toml", *(f"tests/{each}.py" for each in ("conftest", "parsing", "shapes", "surroundings"))):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.delenv(REQUIRE_DATA_VARIABLE, raising=False)
    monkeypatch.delenv(STRESS_VARIABLE, raising=False)

    def run(*arguments: str, **variables: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        ran = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        return ran.returncode, ran.stdout

    return run


def test_a_test_that_lacks_its_data_fails_the_session_where_data_is_required(
    run_three_tests: Callable[..., tuple[int, str]],
) -> None:
    code, said = run_three_tests("-n", "1", **{REQUIRE_DATA_VARIABLE: "1"})
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 skipped for want of PERTURBLEARN_DATA, which counts as failed: tests/test_three.py::test_on_data" in said


def test_long_tests_run_under_stress_only(run_three_tests: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, said = run_three_tests()
    assert code == pytest.ExitCode.OK
    assert "1 passed, 1 skipped, 1 deselected" in said
    _, said = run_three_tests(**{STRESS_VARIABLE: "1", DATA_VARIABLE: str(tmp_path)})
    assert "3 passed" in said


def test_children_hear_ctrl_c_although_the_session_ignores_it() -> None:
    said = subprocess.run(
        [sys.executable, "-c", f"import tests.surroundings, subprocess, sys; {CHILD}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert said.stdout.split() == ["True"]


CHILD = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)  # ignored
subprocess.run([sys.executable, '-c', 'import signal; print(signal.getsignal(2) is signal.default_int_handler)'])
"""


def test_every_worker_has_one_thread() -> None:
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert torch.get_num_threads() == 1
