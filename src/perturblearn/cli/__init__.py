"""The command line: commands, progress, and one sentence for every error."""

from perturblearn.cli.main import main

__all__ = ["main"]
