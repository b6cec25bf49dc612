"""The command line's entry. Torch is imported by the commands that compute, so that help answers at once."""

from __future__ import annotations

import errno
import io
import os
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
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
UNFORESEEN = 3
WITH_KEYS = ("run", "perturb", "learn", "audit", "transfer", "sweep")
"""Commands that take keys of a configuration."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the command's words; None for those of this process.

    Returns:
        0; 1 for a sweep or a figure of which some runs failed; 2 for an error of the user's, which is explained in one
        sentence on standard error; 3 for an error that nobody foresaw, of which the traceback is kept in a file; 130
        after Ctrl-C.
    """
    warnings.showwarning = _PrintOnce()
    for stream in (sys.stdout, sys.stderr):
        # A terminal may know fewer letters than texts and names have, and names of files may have none at all.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
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
        sys.stdout.flush()
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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _fail_unforeseen(error, words)
        # All that results are written to is explained above, so this is where standard output goes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _fail(f"cannot write to standard output ({error.strerror}); free some space and give the command again")
    except MemoryError:
        return _fail("there is not enough memory; choose fewer samples, dimensions or units, or a larger machine")
    except Exception as error:  # noqa: BLE001 - the last resort
        return _fail_unforeseen(error, words)
    return code if isinstance(code, int) else 0


def _fail(sentence: str) -> int:
    print(f"perturblearn: {' '.join(sentence.split())}", file=sys.stderr)
    return USER_ERROR


def _fail_unforeseen(error: Exception, words: Sequence[str]) -> int:
    """Keep the traceback of an error in a file, in the output folder if there is one, and say where it is."""
    text = "".join((shlex.join(("perturblearn", *words)), "\n\n", *traceback.format_exception(error)))
    options = dict(pairwise((*words, "")))
    name = f"error-{os.getpid()}-{time.time_ns() // 10**9}.txt"
    kept = None
    for folder in (options.get("--out", "runs"), tempfile.gettempdir()):
        path = Path(folder) / name
        with suppress(OSError):
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            kept = path
            break
    else:
        print(text, file=sys.stderr)
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    where = "above" if kept is None else f"in {kept}"
    _fail(f"an unexpected error ({what}); finished stages are kept. Please report it with the traceback {where}")
    return UNFORESEEN


class _PrintOnce:
    """Prints every warning once for a command, whichever parts of it warn."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in self._printed:
            self._printed.add(str(message))
            print(f"perturblearn: warning: {message}", file=sys.stderr)
