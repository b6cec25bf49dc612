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
import perturblearn.cli.index
import perturblearn.cli.report
import perturblearn.cli.reproduce
import perturblearn.cli.sets
import perturblearn.cli.sweeps  # noqa: F401 - they say what commands there are
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
        0; 1 for a sweep or a figure of which some runs failed; 2 for an error of the user's, told in one sentence on
        standard error; 130 after Ctrl-C.
    """
    warnings.showwarning = _say_warning
    words = list(sys.argv[1:] if arguments is None else arguments)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return _run(words)
    # Started by torchrun: the first process does what was asked for, the others help it to train.
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
        return _fail(f"{str(error).rstrip('.')}; '{asked}' shows what there is")
    except KeyboardInterrupt:
        print(
            "\nperturblearn: interrupted; finished stages are kept, the same command goes on from them", file=sys.stderr
        )
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone: nobody is left to tell
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0


def _fail(sentence: str) -> int:
    print(f"perturblearn: {' '.join(sentence.split())}", file=sys.stderr)
    return USER_ERROR


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"perturblearn: warning: {message}", file=sys.stderr)
