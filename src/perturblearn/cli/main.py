"""The commands. Torch is imported by the commands that compute, so that help answers at once."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from cyclopts import App, CycloptsError, Parameter

from perturblearn.cli.arguments import keys_help, refuse_network_keys, split_arguments, split_epsilons, split_networks
from perturblearn.errors import ConfigError, PerturbLearnError, StoreError

if TYPE_CHECKING:
    from perturblearn.cli.progress import ProgressBar

INTERRUPTED = 130
USER_ERROR = 2
WITH_KEYS = ("run", "perturb", "learn", "audit", "transfer")
"""Commands that take keys of a configuration."""


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
Plan = Annotated[bool, Flag, Parameter(help="Print the stages and what is finished, and stop.")]
Force = Annotated[bool, Flag, Parameter(help="Repeat stages that are finished.")]
Quiet = Annotated[bool, Flag, Parameter(help="Show no progress and no table.")]
Json = Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")]
SkipBad = Annotated[bool, Flag, Parameter(help="Go on without images that cannot be read, and count them.")]
Set = Annotated[Path, Parameter(name="SET", help="Folder of a set that 'perturblearn perturb' wrote.")]
Data = Annotated[
    str | None,
    Parameter(help="folder:PATH (one folder of images per class), npz:PATH, mnist and others: the key data.name."),
]


@app.command
def run(
    *arguments: Arguments,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    skip_bad: SkipBad = False,
    plan: Plan = False,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the whole experiment: f, perturbed set, g, controls, measures.

    Finished stages are kept and not repeated. The result is a table, a sentence and a folder.
    """
    file, keys = split_arguments(arguments)
    _put_skip_bad(keys, skip_bad)

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
        _print_plan(planned, json)
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
    _print_result(result, bar, quiet, json)


@app.command
def perturb(
    *arguments: Arguments,
    out: Annotated[Path, Parameter(help="Folder for the sets' own folders and for finished stages.")] = Path("sets"),
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    skip_bad: SkipBad = False,
    plan: Plan = False,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Stop after the perturbed set, and write it shard by shard: a folder for each seed.

    It is the set that 'perturblearn run' trains g on. An interrupted command goes on where it was.
    """
    file, keys = split_arguments(arguments)
    _put_skip_bad(keys, skip_bad)

    from perturblearn import api
    from perturblearn.cli.progress import ProgressBar

    prepared = api.prepare_perturbing(file, overrides=keys, data_dir=data_dir)
    store = api.cache_store(cache_dir, cache_size)
    if plan:
        _print_plan(prepared.plan(store or api.artefact_store(out), force=force), json)
        return
    with ProgressBar(enabled=not (quiet or json)) as bar:
        sets = prepared.run(out, store, force=force, watch=bar.update)
    if json:
        _print_json({"kind": "perturbed sets", "sets": [stored.to_dict() for stored in sets]})
    elif not quiet:
        for stored in sets:
            print(f"{stored.folder}: {stored}")
        print(f"Learn from one with: perturblearn learn {sets[0].folder}")


@app.command
def learn(
    folder: Set,
    /,
    *arguments: Annotated[
        str,
        Parameter(
            name="[--KEY VALUE ...]",
            help="Keys of perturbation, controls, measures and mixing, name and seeds (of g) by their dotted names.",
            allow_leading_hyphen=True,
        ),
    ],
    data: Data = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    plan: Plan = False,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train g on a perturbed set that is there, and measure it on clean data.

    --data says where the set's data are, if not where they were.
    """
    keys = _keys_alone(arguments)
    _put_data(keys, data)

    from perturblearn import api
    from perturblearn.cli.progress import ProgressBar

    if plan:
        experiment = api.prepare_learning(folder, overrides=keys, data_dir=data_dir)
        store = api.cache_store(cache_dir, cache_size) or api.artefact_store(out)
        _print_plan(experiment.plan(store, force=force), json)
        return
    with ProgressBar(enabled=not (quiet or json)) as bar:
        result = api.learn(
            folder,
            overrides=keys,
            data_dir=data_dir,
            out=out,
            cache_dir=cache_dir,
            cache_size=cache_size,
            force=force,
            watch=bar.update,
        )
    _print_result(result, bar, quiet, json)


@app.command
def verify(
    folder: Set,
    /,
    *,
    repair: Annotated[bool, Flag, Parameter(help="Make damaged shards again, from the set's f and data.")] = False,
    data: Data = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Compare every file of a perturbed set with what was written; --repair makes damaged shards again.

    The exit status is 0 for a set that is whole or whole again, else 2.
    """
    from perturblearn import api

    damages = api.verify(folder, mend=repair, data=data, data_dir=data_dir)
    harm = [damage for damage in damages if not damage.is_extra]
    if json:
        found = [{"file": each.file, "reason": each.reason, "is_extra": each.is_extra} for each in damages]
        _print_json(
            {"kind": "verification", "folder": str(folder), "damages": found, "repaired": bool(harm and repair)}
        )
    elif not quiet:
        for damage in damages:
            again = "; it was made again" if repair and not damage.is_extra else ""
            print(f"{damage.file} {damage.reason}{again}")
        if not harm or repair:
            print(f"{folder} is whole{' again' if harm else ''}.")
    if harm and not repair:
        files = ", ".join(damage.file for damage in harm[:3])
        more = f" and {len(harm) - 3} more" if len(harm) > 3 else ""
        raise StoreError(f"{folder} is damaged ({files}{more}); repair it with 'perturblearn verify {folder} --repair'")


@app.command
def audit(
    *arguments: Annotated[
        str,
        Parameter(
            name="[FILE] [--KEY VALUE ...]",
            help="A TOML file and keys with whatever else is to be set, such as --seeds 5 or --attack.steps 50; "
            "--LEARNER.KEY VALUE sets a key of one learner, such as --convnet.epochs 30.",
            allow_leading_hyphen=True,
        ),
    ],
    model: Annotated[
        str,
        Parameter(help="f: your own as package.module:name, from the current folder too, or one of ours."),
    ],
    data: Data = None,
    checkpoint: Annotated[
        Path | None, Parameter(help="File of f's weights (safetensors or a state dict), if the model comes without.")
    ] = None,
    train: Annotated[bool, Flag, Parameter(help="Train f first; without it f is taken as it stands.")] = False,
    epsilons: Annotated[
        str | None,
        Parameter(help="Sizes by norm, such as l2:0.5,l2:1,linf:0.1 (l0: pixels); otherwise one of l2 and of linf."),
    ] = None,
    learner: Annotated[
        str | None,
        Parameter(
            help="Networks that learn, such as convnet,mypackage.nets:make; otherwise convnet for images, mlp for all "
            "else."
        ),
    ] = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    skip_bad: SkipBad = False,
    plan: Plan = False,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """What do a model's perturbations teach a network that sees nothing else, and how much of it is class features?

    Over norms, epsilons and learners, beside both controls and a linear classifier. The answer is a verdict in two
    sentences, a table, a figure and a folder.
    """
    file, keys = split_arguments(arguments)
    _put_skip_bad(keys, skip_bad)
    _put_data(keys, data)
    learners = None if learner is None else split_networks(learner, keys)
    refuse_network_keys(keys, "--learner")

    from perturblearn import api
    from perturblearn.cli.progress import ProgressBar

    prepared = api.prepare_audit(
        model,
        epsilons=None if epsilons is None else split_epsilons(epsilons),
        learners=learners,
        checkpoint=checkpoint,
        train=train,
        config=file,
        overrides=keys,
        data_dir=data_dir,
    )
    store = api.cache_store(cache_dir, cache_size)
    if plan:
        _print_plan(prepared.plan(store or api.artefact_store(out), force=force), json)
        return
    with ProgressBar(enabled=not (quiet or json)) as bar:
        found = prepared.run(out, store, force=force, watch=bar.update)
    _print_result(found, bar, quiet, json)


@app.command
def transfer(
    *arguments: Annotated[
        str,
        Parameter(
            name="[FILE] [--KEY VALUE ...]",
            help="A TOML file and keys with whatever else is to be set, such as --seeds 2 or --attack.epsilon 2; "
            "--NETWORK.KEY VALUE sets a key of one network in both roles, such as --resnet18.model.width 0.25.",
            allow_leading_hyphen=True,
        ),
    ],
    networks: Annotated[str, Parameter(help="Architectures, such as mlp,convnet,resnet18 or package.module:factory.")],
    data: Data = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    skip_bad: SkipBad = False,
    plan: Plan = False,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Perturbations of each architecture, learned by each: a matrix, with how often they fool another network.

    The result is three tables with their reading, a heat map and a folder.
    """
    file, keys = split_arguments(arguments)
    _put_skip_bad(keys, skip_bad)
    _put_data(keys, data)
    architectures = split_networks(networks, keys)
    refuse_network_keys(keys, "--networks")

    from perturblearn import api
    from perturblearn.cli.progress import ProgressBar

    prepared = api.prepare_transfer(architectures, config=file, overrides=keys, data_dir=data_dir)
    store = api.cache_store(cache_dir, cache_size)
    if plan:
        _print_plan(prepared.plan(store or api.artefact_store(out), force=force), json)
        return
    with ProgressBar(enabled=not (quiet or json)) as bar:
        found = prepared.run(out, store, force=force, watch=bar.update)
    _print_result(found, bar, quiet, json)


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


def _keys_alone(arguments: Sequence[str]) -> dict[str, Any]:
    file, keys = split_arguments(arguments)
    if file is not None:
        raise ConfigError(f"{file} is one word too many; a set's configuration is in its manifest, name a set alone")
    return keys


def _put_skip_bad(keys: dict[str, Any], skip_bad: bool) -> None:
    if skip_bad:
        keys["data.skip_bad"] = True


def _put_data(keys: dict[str, Any], data: str | None) -> None:
    if data is not None:
        if "data.name" in keys:
            raise ConfigError(f"--data {data} and --data.name {keys['data.name']} say the same; give one of them")
        keys["data.name"] = data


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
        if words[:1] and words[0] in WITH_KEYS and {"--help", "-h"} & set(words):
            app[words[0]].help_epilogue = keys_help()
        app(words, exit_on_error=False, print_error=False, result_action="return_value")
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
    return 0


def _fail(sentence: str) -> int:
    print(f"perturblearn: {' '.join(sentence.split())}", file=sys.stderr)
    return USER_ERROR


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"perturblearn: warning: {message}", file=sys.stderr)


class _Shown(Protocol):
    """What a command ends with."""

    @property
    def folder(self) -> Path | None: ...

    @property
    def seconds(self) -> float: ...

    def to_dict(self) -> dict[str, Any]: ...


def _print_result(result: _Shown, bar: ProgressBar, quiet: bool, json: bool) -> None:
    if json:
        _print_json(result.to_dict())
    elif not quiet:
        print(f"{result}\n\n{bar.summary(result.seconds)}\nResults: {result.folder}")


def _print_plan(planned: Any, json: bool) -> None:
    _print_json(planned.to_dict()) if json else print(planned.describe())


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, allow_nan=False))
