"""Where the browser comes from, and what happens where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Playwright
from tests.browser import installed
from tests.browser.conftest import do_without, launch


def test_the_browser_that_is_named_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("chrome", "chromium"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(installed.BROWSER_VARIABLE, raising=False)
    assert installed.find_browser() == tmp_path / "chromium"
    monkeypatch.setenv(installed.BROWSER_VARIABLE, str(tmp_path / "chrome"))
    assert installed.find_browser() == tmp_path / "chrome"
    monkeypatch.setenv(installed.BROWSER_VARIABLE, str(tmp_path / "nothing"))
    assert installed.find_browser() is None
    assert "skipped: no Chromium or Chrome was found" in installed.install_browser()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('case "$1" in update) ;; install) echo "$@" >"$LOG" ;; esac', "Installed Chromium"),
        ("exit 100", "will be skipped: apt-get could not install Chromium"),
    ],
)
def test_debian_s_browser_is_installed_where_root_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.delenv(installed.BROWSER_VARIABLE, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert said in installed.install_browser()
    if said.startswith("Installed"):
        assert "install -y -qq --no-install-recommends chromium" in (tmp_path / "log").read_text()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "no Chromium or Chrome was found" in installed.install_browser()


def test_the_path_is_printed_and_what_was_done_goes_to_the_other_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "browser"
    monkeypatch.setenv(installed.BROWSER_VARIABLE, str(named))
    installed.main()
    said = capsys.readouterr()
    assert said.out == ""
    assert "Tests of the pages will be skipped: no Chromium or Chrome was found" in said.err
    named.write_text("#!/bin/sh\n")
    named.chmod(0o755)
    installed.main()
    assert capsys.readouterr() == (str(named), "")


def test_without_a_browser_tests_are_skipped_or_fail_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(installed.REQUIRE_BROWSER_VARIABLE, "0")
    with pytest.raises(pytest.skip.Exception, match="no Chromium or Chrome was found; install one, or name its"):
        do_without(installed.MISSING)
    monkeypatch.setenv(installed.REQUIRE_BROWSER_VARIABLE, "1")
    with pytest.raises(pytest.fail.Exception, match="PERTURBLEARN_REQUIRE_BROWSER=1, but no Chromium or Chrome was"):
        do_without(installed.MISSING)


def test_a_browser_that_does_not_start_is_a_reason_to_skip(
    playwright: Playwright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(installed.REQUIRE_BROWSER_VARIABLE, raising=False)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    with pytest.raises(pytest.skip.Exception, match="broken does not start: "):
        launch(playwright, broken)
