"""The tiny run, for the pages that are made of it."""

from __future__ import annotations

from tests.report.conftest import run_tiny, tiny_result

__all__ = ["run_tiny", "tiny_result"]
