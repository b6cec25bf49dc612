"""What an audit and a transfer matrix share: cells that are results, their names, their JSON form, their folder."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from perturblearn.config import AttackConfig, ExperimentConfig, RadialPGDConfig, config_tree, resolve_config, to_toml
from perturblearn.errors import StoreError
from perturblearn.experiment import BEATEN_SHARE, chance_of
from perturblearn.report.examples import Examples
from perturblearn.report.result import Result
from perturblearn.store import ArtefactStore

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

Grid = TypeVar("Grid")

_PLAIN_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_CONTROLS = ("unperturbed_control_heldout", "permuted_control_heldout")


@dataclass(frozen=True)
class HeatMap:
    """A table of numbers in colours.

    Args:
        title: what the numbers are.
        values: row by row, ``mean`` and ``std`` of every cell; None, or a mean of None, where nothing was measured.
        low: where the colours begin; they end at 1.
        columns: what the columns are.
    """

    title: str
    values: Sequence[Sequence[Mapping[str, Any] | None]]
    low: float
    columns: str


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Networks as they are called where room is scarce: the object's name alone, of an import path.

    Args:
        names: as configurations hold them; ``package.module:factory`` where they are the user's own.

    Returns:
        By name, in the order given: what follows the colon, with as many parts of the module before it as it takes to
        tell it from all others.
    """
    distinct = list(dict.fromkeys(names))
    forms = {name: list(_forms(name)) for name in distinct}
    depth = dict.fromkeys(distinct, 0)
    while True:
        shown = {name: forms[name][depth[name]] for name in distinct}
        counts = Counter(shown.values())
        longer = [name for name in distinct if counts[shown[name]] > 1 and depth[name] + 1 < len(forms[name])]
        if not longer:
            return shown
        for name in longer:
            depth[name] += 1


def _forms(name: str) -> Iterator[str]:
    """Ever longer ends of a name; the last one is the name."""
    module, colon, last = name.partition(":")
    if module == "python":  # handed over as an object, known by its content
        yield f"object {last[:6]}"
    yield last if colon else name
    if colon:
        parts = module.split(".")
        yield from (f"{'.'.join(parts[-count:])}:{last}" for count in range(1, len(parts) + 1))


def controls_of(cell: Result) -> dict[str, Mapping[str, Any]]:
    """A cell's controls on held-out inputs, by their names; none if no draws were asked for."""
    return {name.split("_")[0]: cell.summary[name] for name in _CONTROLS if name in cell.summary}


def has_learned(cell: Result) -> bool | None:
    """Whether g beats the draws of every control and, in the mean, chance; None without controls.

    Where nothing is perturbed g is a control itself, and beats the others by accident.
    """
    controls = controls_of(cell)
    if not controls:
        return None
    if size_of(cell.config.attack)[0] == 0:
        return False
    reached = cell.summary["perturbation_accuracy_heldout"]["mean"]
    beats_all = all(values["beaten"] >= BEATEN_SHARE for values in controls.values())
    return beats_all and reached > chance_of(cell.seeds)


def by_seed(cell: Result) -> dict[int, float]:
    """Accuracy of g on the clean held-out inputs, seed by seed."""
    return {seed["seed"]: seed["measures"]["perturbation_accuracy_heldout"] for seed in cell.seeds}


def size_of(attack: AttackConfig) -> tuple[float, str]:
    """How much an attack may change, as a number and as text: epsilon, but coordinates where these alone bound it."""
    if isinstance(attack, RadialPGDConfig) and attack.norm == "l0":
        if attack.pixels is not None:
            return float(attack.pixels), f"{attack.pixels} px"
        assert attack.pixel_share is not None, "a configuration of norm l0 has either"
        return 100 * attack.pixel_share, f"{100 * attack.pixel_share:g} % px"
    return attack.epsilon, f"{attack.epsilon:g}"


def attack_text(attack: AttackConfig) -> str:
    """Norm and size of an attack."""
    size = size_of(attack)[1]
    return f"{attack.norm}, {size}" if size.endswith("px") else f"{attack.norm}, epsilon {size}"


def data_text(config: ExperimentConfig) -> str:
    """The data and the classes, for a title; of a path the last part."""
    data = config.data
    name = data.provider if data.path is None else f"{data.provider}:{Path(data.path).name}"
    return f"{name} {', '.join(data.chosen_classes)}" if data.chosen_classes else name


def learner_of(cell: Result) -> str:
    """The network g, as the configuration names it."""
    return cell.config.perturbation.model.name


def plural(count: int, what: str) -> str:
    """How many of something: 1 seed, 2 seeds."""
    return f"{count} {what}" + "s" * (count != 1)


def percent(share: float) -> str:
    """A share in percent, without the sign."""
    return f"{100 * share:.1f}"


def with_spread(values: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Mean and standard deviation as text; a dash where nothing was measured."""
    if values is None or values["mean"] is None:
        return "-"
    spread = "" if values["std"] is None else f" +- {values['std']:.{digits}f}"
    return f"{values['mean']:.{digits}f}{spread}"


def mean_text(values: Mapping[str, Any] | None, digits: int = 3) -> str:
    """The mean as text; a dash where nothing was measured."""
    return "-" if values is None or values["mean"] is None else f"{values['mean']:.{digits}f}"


def mean_of(values: Mapping[str, Any] | None) -> float | None:
    """The mean; None where nothing was measured."""
    return None if values is None else values["mean"]


def mean_over(cells: Sequence[Result], measure: str) -> float:
    """Mean of a measure's means over cells that all have it."""
    return statistics.fmean(cell.summary[measure]["mean"] for cell in cells)


def aligned(lines: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines of cells as columns two spaces apart.

    Args:
        lines: as many cells in each.
        left: so many first columns start at their left edge, the others end at their right edge.
    """
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def html_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Cells as a table that runs nothing, whatever they say."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_lines(lines: Sequence[str]) -> str:
    """A paragraph for each line."""
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def frame_of(cells: Sequence[tuple[Mapping[str, Any], Result]]) -> pandas.DataFrame:
    """One row per cell and seed: what tells the cell from others, the seed, and the columns of `Result.to_frame`.

    Args:
        cells: with the columns of each.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    frames = [cell.to_frame().reset_index() for _, cell in cells]
    import pandas  # after to_frame, which says what to install

    for (columns, _), frame in zip(cells, frames, strict=True):
        for place, (name, value) in enumerate(columns.items()):
            frame.insert(place, name, value)
    return pandas.concat(frames, ignore_index=True)


def cell_to_dict(cell: Result, first: ExperimentConfig) -> dict[str, Any]:
    """A cell as JSON values, with the keys of the configuration in which it differs from the first cell."""
    return {
        "key": cell.key,
        "changes": _changes(config_tree(first), config_tree(cell.config)),
        "summary": {name: dict(values) for name, values in cell.summary.items()},
        "seeds": [dict(seed) for seed in cell.seeds],
    }


def cell_from_dict(content: Mapping[str, Any], first: Mapping[str, Any], versions: Mapping[str, str]) -> Result:
    """The cell that `cell_to_dict` was given, without its folder.

    Raises:
        ConfigError: its configuration is none.
        KeyError: a key is missing.
    """
    return Result(
        config=resolve_config(dict(first), content["changes"]),
        key=content["key"],
        seeds=content["seeds"],
        summary=content["summary"],
        versions=versions,
    )


def _changes(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name that make the first tree the other one; None takes a value away."""
    before, after = dict(_leaves(first)), dict(_leaves(other))
    return {name: after.get(name) for name in {**before, **after} if before.get(name) != after.get(name)}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def write_grid(
    store: ArtefactStore,
    folder: Path,
    *,
    kind: str,
    content: Mapping[str, Any],
    figure: Figure,
    table: Sequence[Mapping[str, Any]],
    configs: Sequence[tuple[str, ExperimentConfig]],
    examples: Mapping[str, Examples],
) -> None:
    """Write numbers, a picture, a table, each cell's configuration and examples into a folder, all at once.

    Args:
        store: lends the scratch space, on the same disk as the folder.
        folder: where to; an older one in its place is replaced.
        kind: first part of the file names ``<kind>.json`` and ``<kind>.png``.
        content: of the JSON file.
        figure: of the picture.
        table: lines of ``table.csv``, all with the same keys; an empty cell where a value is None.
        configs: of the cells, each with what its file in ``cells`` is called.
        examples: perturbed inputs, each with what its file in ``examples`` is called.

    Raises:
        StoreError: the folder cannot be written.
    """
    with store.scratch() as scratch:
        inside = scratch / folder.name
        (inside / "cells").mkdir(parents=True)
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        (inside / f"{kind}.json").write_text(text, encoding="utf-8")
        figure.savefig(inside / f"{kind}.png", dpi=130)
        with (inside / "table.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
        for number, (name, config) in enumerate(configs, start=1):
            path = inside / "cells" / f"{number:02d}-{_PLAIN_NAME.sub('_', name)}.toml"
            path.write_text(to_toml(config), encoding="utf-8")
        for number, (name, shown) in enumerate(examples.items(), start=1):
            (inside / "examples").mkdir(exist_ok=True)
            shown.save(inside / "examples" / f"{number:02d}-{_PLAIN_NAME.sub('_', name)}.safetensors", name=name)
        store.move_into_place(inside, folder, replace=True)


def load_grid(
    folder: str | os.PathLike[str], kind: str, schema: int, build: Callable[[dict[str, Any], Path], Grid]
) -> Grid:
    """What lies in a folder that `write_grid` has written.

    Args:
        folder: where it was written to.
        kind: first part of the file's name.
        schema: the newest version of its form that is known.
        build: makes the object of the file's content and the folder.

    Raises:
        StoreError: there is none, it is damaged, or a newer version wrote it.
    """
    path = Path(folder) / f"{kind}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] > schema:
            raise StoreError(f"{path} was written by a newer version of perturblearn; update it to read this {kind}")
        return build(content, path.parent)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror}); name the folder of a finished {kind}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r}); run the {kind} again with --force") from None
