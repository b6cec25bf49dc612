"""The script for Slurm, with stand-ins for Slurm's own commands: two machines that are both this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from perturblearn.store import RecordStore

pytest.importorskip("ray", reason="Ray is not installed")

SCRIPT = Path(__file__).parents[1] / "examples/slurm/sweep.sbatch"
SCONTROL = """#!/usr/bin/env bash
[[ "$1 $2 $3" == "show hostnames nodes-[1-2]" ]] && printf 'first\\nsecond\\n'
"""
SRUN = """#!/usr/bin/env bash
echo "$*" >>srun.log
while [[ "$1" == --* ]]; do shift; done
if [[ "$1" == hostname ]]; then echo 127.0.0.1; else exec "$@"; fi
"""
SWEEP = """
name = "small"
[data]
name = "digits"
classes = [3, 8]
n_samples = 60
[controls]
draws = 0
[standard]
epochs = 20
[perturbation]
epochs = 4000
[sweep.grid]
"attack.epsilon" = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
seeds = [0, 1]
"""


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """A folder with a sweep, and the environment of a job there."""
    (tmp_path / "bin").mkdir()
    for name, content in (("scontrol", SCONTROL), ("srun", SRUN)):
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    return {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "nodes-[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_TMPDIR": "/tmp",  # names of sockets must be short
        f"MARK_{uuid.uuid4().hex}": "1",
    }


def submit(folder: Path, job: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", SCRIPT, "sweep.toml", "--quiet", "--out", "runs"],
        cwd=folder,
        env=job,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(folder: Path) -> int:
    return sum(run.state == "finished" for run in RecordStore(folder / "runs/.store/records.sqlite3").all())


def processes(job: dict[str, str]) -> list[str]:
    """The command lines of what the job has started."""
    (mark,) = [name for name in job if name.startswith("MARK_")]
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return [words for words in found if words]


@pytest.mark.long
def test_a_job_whose_time_is_over_goes_on_when_it_is_submitted_again(tmp_path: Path, job: dict[str, str]) -> None:
    with submit(tmp_path, job) as first:
        while not finished(tmp_path):
            assert first.poll() is None, first.stderr.read() if first.stderr else ""
            time.sleep(0.1)
        first.send_signal(signal.SIGINT)  # to the script alone, as Slurm sends it
        _, said = first.communicate()
    assert first.returncode == 130, said
    assert "interrupted; finished stages are kept" in said
    assert "submit the same job again to continue" in said
    assert processes(job) == []
    before = finished(tmp_path)
    assert 0 < before < 12

    with submit(tmp_path, job) as second:
        _, said = second.communicate()
    assert (second.returncode, said) == (0, "")
    assert finished(tmp_path) == 12
    assert processes(job) == []
    steps = (tmp_path / "srun.log").read_text().splitlines()
    assert sum("--nodelist=first --overlap ray start --head" in step for step in steps) == 2
    assert sum("--nodes=1 --ntasks=1 --exclude=first --overlap ray start --address=" in step for step in steps) == 2
