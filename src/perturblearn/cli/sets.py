"""The commands perturb, learn, verify and export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import split_arguments
from perturblearn.cli.options import (
    Arguments,
    Data,
    DataDir,
    DataOptions,
    ExecutionOptions,
    Flag,
    Flattened,
    Out,
    OutputOptions,
    ProgressOptions,
    ReportOptions,
    Track,
    arguments,
    set_data,
)
from perturblearn.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from perturblearn.cli.progress import ProgressBar
    from perturblearn.perturbed import StoredSet

Set = Annotated[Path, Parameter(name="SET", help="Folder of a perturbed set, written by 'perturblearn perturb'.")]


@app.command
def perturb(
    *words: Arguments,
    data: Annotated[DataOptions, Flattened] = DataOptions(),
    scale: Annotated[
        Literal["quick", "full"] | None,
        Parameter(help="studies/constructed_sets: full for CIFAR-10, quick (default) for 2,000 images of MNIST."),
    ] = None,
    tensors: Annotated[
        Path | None,
        Parameter(help="Folder for the same sets as plain tensors too, NAME_ims and NAME_lab, as export writes them."),
    ] = None,
    out: Annotated[Path, Parameter(help="Folder for the sets and finished stages.")] = Path("sets"),
    execution: Annotated[ExecutionOptions, Flattened] = ExecutionOptions(),
    output: Annotated[ProgressOptions, Flattened] = ProgressOptions(),
) -> None:
    """Train f, and write the perturbed set of every seed, each into its own folder.

    These are the sets on which 'perturblearn run' trains g. After an
    interruption, the same command continues where it stopped. In the place of a
    file, studies/constructed_sets makes the four data sets of Ilyas et al. (2019).
    """
    file, keys = split_arguments(words)
    data.set_keys(keys)

    from perturblearn.api import prepare_perturb
    from perturblearn.cli.execute import execute

    def show(sets: Sequence[StoredSet], bar: ProgressBar) -> str:
        lines = [f"{stored.folder}: {stored}" for stored in sets]
        lines += [] if tensors is None else [f"{tensors}: the same as tensors of torch.save"]
        return "\n".join((*lines, f"Train g on one with: perturblearn learn {sets[0].folder}"))

    def as_json(sets: Sequence[StoredSet]) -> dict[str, Any]:
        return {"kind": "perturbed sets", "sets": [stored.to_dict() for stored in sets]}

    prepared = prepare_perturb(file, scale=scale, tensors=tensors, overrides=keys, data_dir=data.data_dir)
    execute(prepared, out, execution, output, show=show, as_json=as_json)


@app.command
def learn(
    folder: Set,
    /,
    *words: Annotated[
        str,
        arguments(
            "[--KEY VALUE ...]",
            "Keys of perturbation, controls, measures, mixing and saving by their dotted names, name, and seeds (g's).",
        ),
    ],
    data: Data = None,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    track: Track = None,
    execution: Annotated[ReportOptions, Flattened] = ReportOptions(),
    output: Annotated[ProgressOptions, Flattened] = ProgressOptions(),
) -> None:
    """Train g on an existing perturbed set, and measure it on clean data.

    If the set's data have moved, --data gives their new place.
    """
    file, keys = split_arguments(words)
    if file is not None:
        raise ConfigError(f"{file} is one argument too many; the set has its own configuration, so name only the set")
    set_data(keys, data)

    from perturblearn.api import prepare_learn
    from perturblearn.cli.execute import execute_one

    execute_one(prepare_learn(folder, overrides=keys, data_dir=data_dir), out, execution, output, track=track)


@app.command
def verify(
    folder: Set,
    /,
    *,
    repair: Annotated[bool, Flag, Parameter(help="Make damaged shards again, from the set's f and data.")] = False,
    data: Data = None,
    data_dir: DataDir = None,
    output: Annotated[OutputOptions, Flattened] = OutputOptions(),
) -> None:
    """Check every file of a perturbed set; --repair makes damaged shards again.

    The exit code is 0 for an intact or repaired set, otherwise 2.
    """
    from perturblearn import api
    from perturblearn.cli.execute import print_json
    from perturblearn.perturbed import lost_standard
    from perturblearn.perturbed.manifest import STANDARD

    damages = api.verify(folder, repair=repair, data=data, data_dir=data_dir)
    harm = [damage for damage in damages if not damage.is_extra]
    if output.json:
        content = [{"file": each.file, "reason": each.reason, "is_extra": each.is_extra} for each in damages]
        repaired = bool(harm and repair)
        print_json({"kind": "verification", "folder": str(folder), "damages": content, "repaired": repaired})
    elif not output.quiet:
        for damage in damages:
            print(f"{damage.file} {damage.reason}{'; repaired' if repair and not damage.is_extra else ''}")
        if not harm or repair:
            print(f"{folder} is {'repaired' if harm else 'intact'}.")
    if harm and not repair:
        if any(damage.file == STANDARD for damage in harm):
            raise lost_standard(folder)
        files = ", ".join(damage.file for damage in harm[:3])
        more = f" and {len(harm) - 3} more" if len(harm) > 3 else ""
        raise StoreError(f"{folder} is damaged ({files}{more}); repair it with 'perturblearn verify {folder} --repair'")


@app.command
def export(
    folder: Set,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the two files.")] = Path("tensors"),
    prefix: Annotated[str, Parameter(help="Beginning of their names, PREFIX_ims and PREFIX_lab.")] = "CIFAR",
    output: Annotated[OutputOptions, Flattened] = OutputOptions(),
) -> None:
    """Write a perturbed set as plain tensors of torch.save, as Ilyas et al. (2019) published theirs.

    Both files hold lists: torch.cat(torch.load("tensors/CIFAR_ims")).
    """
    from perturblearn import api
    from perturblearn.cli.execute import print_json

    images, labels = api.export(folder, out, prefix=prefix)
    if output.json:
        print_json({"kind": "exported set", "folder": str(folder), "inputs": str(images), "labels": str(labels)})
    elif not output.quiet:
        print(f"{images}: inputs\n{labels}: target classes")
