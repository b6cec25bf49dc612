"""Chromium or Chrome on this machine: found, or where that can be done, installed.

``python -m tests.browser.installed`` prints the path of the one that is there in the end; nothing where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

BROWSER_VARIABLE = "PERTURBLEARN_BROWSER"
REQUIRE_BROWSER_VARIABLE = "PERTURBLEARN_REQUIRE_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = f"no Chromium or Chrome was found; install one, or name its program with {BROWSER_VARIABLE}"
# Without recommended packages Debian's comes without a font.
_INSTALL = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core")


def find_browser() -> Path | None:
    """The program that PERTURBLEARN_BROWSER names, or the first one on the path; None where there is none."""
    named = os.environ.get(BROWSER_VARIABLE)
    found = [place for name in ((named,) if named else NAMES) if (place := shutil.which(name)) is not None]
    return Path(found[0]) if found else None


def install_browser() -> str:
    """Install Debian's Chromium where root may; what came of it, in one line."""
    if os.environ.get(BROWSER_VARIABLE) or shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"Tests of the pages will be skipped: {MISSING}."
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (("apt-get", "update", "-qq"), _INSTALL):
            subprocess.run(command, env=quiet, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        return f"Tests of the pages will be skipped: apt-get could not install Chromium ({error})."
    return "Installed Chromium, for the tests of the pages."


def main() -> None:
    """Find a browser, installing one if need be, and print its path; what had to be done goes to standard error."""
    if find_browser() is None:
        sys.stderr.write("No browser was found for the tests of the pages; trying to install one ...\n")
        sys.stderr.write(f"{install_browser()}\n")
    sys.stdout.write(f"{find_browser() or ''}")


if __name__ == "__main__":
    main()
