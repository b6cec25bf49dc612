"""The commands. Torch is imported by the commands that compute, so that help answers at once."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from perturblearn.cli.arguments import keys_help, split_arguments
from perturblearn.errors import ConfigError, PerturbLearnError

INTERRUPTED = 130
USER_ERROR = 2


def _version() -> str:
    import perturblearn

    return perturblearn.__version__


app = App(
    name="perturblearn",
    help="Train classifiers on nothing but adversarial perturbations with wrong labels, and see what they learn.",
    version=_version,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)

Arguments = Annotated[
    str,
    Parameter(
        name="[FILE] [--KEY VALUE ...]",
        help="A TOML file (without one: bundled digits, 3 against 8), then any of its keys by their dotted names, "
        "which are listed below.",
        allow_leading_hyphen=True,
    ),
]
DataDir = Annotated[Path | None, Parameter(help="Where named data lie; otherwise PERTURBLEARN_DATA.")]
Out = Annotated[Path, Parameter(help="Folder for the run's own folder and for finished stages.")]
CacheDir = Annotated[
    Path | None,
    Parameter(
        help="Folder for finished stages in place of the one in --out, shared by all runs that name it; otherwise "
        "PERTURBLEARN_CACHE."
    ),
]
CacheSize = Annotated[
    str | None,
    Parameter(
        help="How large the cache may grow, such as 20GB: what was not used for longest is removed; otherwise "
        "PERTURBLEARN_CACHE_SIZE, and without that any size."
    ),
]
Flag = Parameter(negative=())


@app.command
def run(
    *arguments: Arguments,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    plan: Annotated[bool, Flag, Parameter(help="Print the stages and what is finished, and stop.")] = False,
    force: Annotated[bool, Flag, Parameter(help="Repeat stages that are finished.")] = False,
    quiet: Annotated[bool, Flag, Parameter(help="Show no progress and no table.")] = False,
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run the whole experiment: f, perturbed set, g, controls, measures.

    Finished stages are kept and not repeated. The result is a table, a sentence and a folder.
    """
    file, keys = split_arguments(arguments)

    from perturblearn import api
    from perturblearn.cli.progress import ProgressBar

    if plan:
        planned = api.plan(
            file,
            overrides=keys,
            data_dir=data_dir,
            out=out,
            cache_dir=cache_dir,
            cache_size=cache_size,
            force=force,
        )
        _print_json(planned.to_dict()) if json else print(planned.describe())
        return
    with ProgressBar(enabled=not (quiet or json)) as bar:
        result = api.learn_from_perturbations(
            file,
            overrides=keys,
            data_dir=data_dir,
            out=out,
            cache_dir=cache_dir,
            cache_size=cache_size,
            force=force,
            watch=bar.update,
        )
    if json:
        _print_json(result.to_dict())
    elif not quiet:
        print(f"{result}\n\n{bar.summary(result.seconds)}\nResults: {result.folder}")


@app.command
def theory(
    folder: Annotated[Path, Parameter(name="RUN", help="Folder of a finished run.")],
    /,
    *,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    map_limits: Annotated[
        tuple[float, float] | None,
        Parameter(
            negative=(),
            help="Least and largest coordinate of the decision map; otherwise it shows nearly all samples.",
        ),
    ] = None,
    force: Annotated[bool, Flag, Parameter(help="Compare again what has been compared.")] = False,
    quiet: Annotated[bool, Flag, Parameter(help="Show no progress and no table.")] = False,
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare a finished run with both papers' predictions.

    The result is a table, some sentences, and the folder RUN/theory with a figure and a decision map.
    """
    from perturblearn import api
    from perturblearn.cli.progress import ProgressBar

    with ProgressBar(enabled=not (quiet or json)) as bar:
        comparison = api.compare_with_theory(
            folder,
            data_dir=data_dir,
            cache_dir=cache_dir,
            cache_size=cache_size,
            map_limits=map_limits,
            force=force,
            watch=bar.update,
        )
    if json:
        _print_json(comparison.to_dict())
    elif not quiet:
        print(f"{comparison}\n\nFigures and numbers: {comparison.folder}")


@app.command
def init(
    *arguments: Annotated[
        str,
        Parameter(
            name="[FILE] [--KEY VALUE ...]",
            help="Where to write (experiment.toml), then keys to set.",
            allow_leading_hyphen=True,
        ),
    ],
    force: Annotated[bool, Flag, Parameter(help="Replace a file that is there.")] = False,
) -> None:
    """Write a TOML file with every key, its value and what it means."""
    file, keys = split_arguments(arguments)
    path = Path(file or "experiment.toml")

    from perturblearn.config import commented_toml, resolve_config

    text = commented_toml(resolve_config(None, keys))
    try:
        with path.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is already there; name another file, or replace it with --force") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path} ({error.strerror}); name a file that can be written") from None
    print(f"Wrote {path}; run it with: perturblearn run {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the command's words; None for those of this process.

    Returns:
        0; 2 for an error of the user's, told in one sentence on standard error; 130 after Ctrl-C.
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
        if words[:1] == ["run"] and {"--help", "-h"} & set(words):
            app["run"].help_epilogue = keys_help()
        app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except PerturbLearnError as error:
        return _fail(str(error))
    except CycloptsError as error:
        return _fail(f"{str(error).rstrip('.')}; 'perturblearn --help' shows what there is")
    except KeyboardInterrupt:
        print(
            "\nperturblearn: interrupted; finished stages are kept, the same command goes on from them", file=sys.stderr
        )
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone: nobody is left to tell
        sys.stderr.close()
        return 0
    return 0


def _fail(sentence: str) -> int:
    print(f"perturblearn: {' '.join(sentence.split())}", file=sys.stderr)
    return USER_ERROR


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"perturblearn: warning: {message}", file=sys.stderr)


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, allow_nan=False))
