"""The command line's entry. Torch is imported by the commands that compute, so that help answers at once."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from cyclopts import CycloptsError

import perturblearn.cli.audits
import perturblearn.cli.experiments
import perturblearn.cli.pages
import perturblearn.cli.reproduce
import perturblearn.cli.sets
import perturblearn.cli.sweeps  # noqa: F401 - importing them registers the commands
from perturblearn.cli.app import app
from perturblearn.cli.arguments import keys_help
from perturblearn.errors import PerturbLearnError

INTERRUPTED = 130
USER_ERROR = 2
WITH_KEYS = ("run", "perturb", "learn", "audit", "transfer", "sweep")
"""Commands that take keys of a configuration."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the command's words; None for those of this process.

    Returns:
        0; 1 for a sweep or a figure of which some runs failed; 2 for an error of the user's, which is explained in one
        sentence on standard error; 130 after Ctrl-C.
    """
    warnings.showwarning = _PrintOnce()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return _run(words)
    # Started by torchrun: the first process runs the command, the others help it to train.
    from perturblearn.training import workers

    with workers() as is_main:
        return _run(words) if is_main else 0


def _run(words: list[str]) -> int:
    try:
        if words[:1] and words[0] in WITH_KEYS and {"--help", "-h"} & set(words):
            app[words[0]].help_epilogue = keys_help()
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except PerturbLearnError as error:
        return _fail(str(error))
    except CycloptsError as error:
        asked = " ".join(("perturblearn", *(error.command_chain or ()), "--help"))
        return _fail(f"{str(error).rstrip('.')}; see '{asked}'")
    except KeyboardInterrupt:
        print("\nperturblearn: interrupted; finished stages are kept, and the same command resumes", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads our output any more, as after `| head`: there is nobody to tell
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0


def _fail(sentence: str) -> int:
    print(f"perturblearn: {' '.join(sentence.split())}", file=sys.stderr)
    return USER_ERROR


class _PrintOnce:
    """Prints every warning once for a command, whichever parts of it warn."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in self._printed:
            self._printed.add(str(message))
            print(f"perturblearn: warning: {message}", file=sys.stderr)
