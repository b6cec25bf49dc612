"""Completion in shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.cli.commands import say

from perturblearn.cli.app import app


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell: str) -> None:
    script = app.generate_completion(shell=shell)  # pyright: ignore[reportArgumentType]
    for word in ("reproduce", "audit", "no-report", "cache-size", "track"):
        assert word in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash on this system")
def test_bash_completes_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "completion"
    assert say(capsys, "--install-completion", "--shell", "bash", "--output", script).code == 0
    assert str(script) in (tmp_path / ".bashrc").read_text(encoding="utf-8")
    program = (
        f'. {script}; COMP_WORDS=(perturblearn repr); COMP_CWORD=1; COMP_LINE="perturblearn repr"; '
        "COMP_POINT=${#COMP_LINE}; "
        '$(complete -p perturblearn | sed "s/.*-F \\([^ ]*\\).*/\\1/"); echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["reproduce"]
