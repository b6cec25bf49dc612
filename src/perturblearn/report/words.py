"""Words, numbers and plain tables that all reports share."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.config import AttackConfig, ExperimentConfig, PGDConfig, RebuildConfig, SparseAttackConfig
from perturblearn.experiment import Spread, Summary
from perturblearn.results import DataSize, Result, size_of

NORMS = {"l0": "L0", "l2": "L2", "linf": "L∞"}
"""Names of norms."""


@dataclass(frozen=True)
class SourceWords:
    """What is said of a source.

    Args:
        title: as titles call it. Braces hold what is said of the ``attack``, and the ``provider`` of other data.
        seen: what g sees where it is perturbed, in a sentence.
    """

    title: str
    seen: str


@dataclass(frozen=True)
class TargetWords:
    """What is said of targets.

    Args:
        labels: as g's labels.
        classes: as that towards which inputs are perturbed.
    """

    labels: str
    classes: str


_SOURCES = {
    "natural": SourceWords("natural sources", "inputs"),
    "none": SourceWords("bare perturbations", "adversarial perturbations"),
    "uniform": SourceWords("uniform sources", "noise"),
    "gauss": SourceWords("gauss sources", "noise"),
    "noisy": SourceWords("sources under noise (signal to noise {attack.signal_to_noise:g})", "inputs under noise"),
    "errors": SourceWords("sources that f gets wrong", "inputs that f gets wrong"),
    "data:NAME": SourceWords("sources from {provider}", "inputs of {attack.foreign}"),
    "another": SourceWords("from other inputs", "inputs rebuilt from f's features"),
}
TARGETS = {
    "uniform": TargetWords("random labels", "random classes"),
    "other": TargetWords("labels that are always wrong", "wrong classes"),
    "next": TargetWords("labels that are always wrong", "wrong classes"),
    "given": TargetWords("the labels that were given", "given classes"),
    "predicted": TargetWords("f's answers as labels", "f's answers"),
    "soft": TargetWords("f's outputs in place of labels", "f's answers"),
    "auxiliary": TargetWords("f's auxiliary outputs in place of labels", "f's answers"),
    "true": TargetWords("their true labels", "their true classes"),
    "original": TargetWords("the labels of the inputs whose features they have", "the classes of these"),
}
"""What is said of targets, by their names."""
_NETWORKS = {
    "convnet": "a ConvNet",
    "gradient_boosting": "a gradient boosting classifier",
    "knn": "a nearest-neighbour classifier",
    "limit": "a network at its limit",
    "logistic_regression": "a logistic regression",
    "mlp": "an MLP",
    "one_hidden": "a one-hidden-layer network",
    "resnet18": "a ResNet-18",
    "resnet9": "a ResNet-9",
    "two_layer": "a two-layer network",
    "wide_resnet": "a Wide ResNet",
}


def plural(count: int, what: str) -> str:
    """How many of something: 1 seed, 2 seeds."""
    return f"{count:,} {what}" + "s" * (count != 1)


def percent(share: float) -> str:
    """A share in percent, without the sign."""
    return f"{100 * share:.1f}"


def percent_range(shares: Sequence[float]) -> str:
    """The least and the largest of some shares in percent, once where they print equal."""
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


def with_spread(values: Spread | None, digits: int = 3) -> str:
    """Mean and standard deviation as text; a dash where nothing was measured."""
    if values is None or values["mean"] is None:
        return "-"
    spread = "" if values["std"] is None else f" ± {values['std']:.{digits}f}"
    return f"{values['mean']:.{digits}f}{spread}"


def percent_with_spread(values: Spread) -> str:
    """Mean and standard deviation of a share in percent, with the sign."""
    spread = "" if values["std"] is None else f" ± {percent(values['std'])}"
    return f"{percent(values['mean'])}{spread} %"


def mean_text(values: Spread | None, digits: int = 3) -> str:
    """The mean as text; a dash where nothing was measured."""
    return "-" if values is None or values["mean"] is None else f"{values['mean']:.{digits}f}"


def shown_number(value: Any) -> str:
    """A setting for a table: numbers without digits that say nothing, and yes and no as in a configuration."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else "-" if value is None else str(value)


def short_keys(names: Sequence[str]) -> list[str]:
    """Dotted keys by their last part, with as many parts before it as it takes to tell them apart."""
    return [
        next(
            short
            for short in (".".join(name.split(".")[-count:]) for count in range(1, name.count(".") + 2))
            if short == name or sum(other == short or other.endswith(f".{short}") for other in names) == 1
        )
        for name in names
    ]


def attack_text(attack: AttackConfig) -> str:
    """Norm and size of an attack; of one that rebuilds inputs its steps."""
    if isinstance(attack, RebuildConfig):
        return f"rebuilt in {plural(attack.steps, 'step')} of {attack.step:g}"
    norm, size = NORMS[attack.norm], size_of(attack)[1]
    if size.endswith(" px"):
        share, _, _ = size.removesuffix(" px").partition(" %")
        return f"{norm}, {share} % of the coordinates" if "%" in size else f"{norm}, {share} coordinates"
    return f"{norm}, ε = {size}{_band_text(attack)}"


def _band_text(attack: AttackConfig) -> str:
    return f" in the band {attack.band}" if isinstance(attack, PGDConfig) and attack.band is not None else ""


def source_text(attack: AttackConfig) -> str:
    """What the perturbations are added to, for a title."""
    return _filled(_SOURCES[attack.source_kind].title, attack)


def seen_text(attack: AttackConfig) -> str:
    """What g sees where the attack moves it, for a sentence."""
    return _filled(_SOURCES[attack.source_kind].seen, attack)


def _filled(text: str, attack: AttackConfig) -> str:
    return text.format(attack=attack, provider=(attack.foreign or "").partition(":")[0])


def data_text(config: ExperimentConfig) -> str:
    """The data and the classes, for a title; of a path the last part."""
    data = config.data
    name = data.provider if data.path is None else f"{data.provider}:{Path(data.path).name}"
    return f"{name} {', '.join(data.chosen_classes)}" if data.chosen_classes else name


def network_text(name: str) -> str:
    """A network with its article.

    Args:
        name: one of ours, or what the user's own is called.
    """
    return _NETWORKS.get(name, f"the network {name}")


def interval_text(values: Summary | None, digits: int = 3) -> str:
    """The sampling interval of a share; a dash where there is none."""
    if values is None or "interval" not in values:
        return "-"
    low, high = values["interval"]
    return f"{low:.{digits}f}–{high:.{digits}f}"


def size_text(size: DataSize | None) -> str:
    """N, d and the number of held-out inputs, after a semicolon; nothing where they are not known."""
    if size is None:
        return ""
    return f"; N = {size.n_samples:,}, d = {size.input_dim:,}, {plural(size.n_heldout, 'held-out input')}"


def how_many(result: Result) -> str:
    """Seeds, and how many held-out inputs each has."""
    counts = {sum(seed.classes.n_heldout) for seed in result.seeds}
    each = " each" if len(result.seeds) > 1 else ""
    numbers = " or ".join(f"{count:,}" for count in sorted(counts))
    samples = "" if counts == {0} else f", {numbers} held-out inputs{each}"
    return f"{plural(len(result.seeds), 'seed')}{samples}"


def values_text(result: Result) -> str:
    """What a point of a chart is: a mean with its spread, or the value of the only seed."""
    what = "means ± one standard deviation over" if len(result.seeds) > 1 else "the values of"
    return f"{what} {how_many(result)}"


def title(config: ExperimentConfig, size: DataSize | None = None) -> str:
    """What was run, in one line, with the size of its data.

    Args:
        config: of the run.
        size: of its data; None where it is not known.
    """
    attack = config.attack
    classes = f" {' vs '.join(config.data.chosen_classes)}" if config.data.chosen_classes else ""
    pixels = f" on {attack.coordinates}" if isinstance(attack, SparseAttackConfig) and attack.coordinates else ""
    source = source_text(attack)
    if config.mixing.is_mixed:
        source += f", {100 * config.mixing.perturbed_share:g} % perturbed among clean ones"
    if config.saving.is_saved:
        source += f", saved as {config.saving.words}"
    # A path's last part tells what it was; the whole would not fit a line.
    data = config.data.provider if config.data.path is None else f"{config.data.provider}:{Path(config.data.path).name}"
    if attack.rebuilds:
        bound = attack_text(attack)
    else:
        epsilon = "" if attack.norm == "l0" and attack.is_search else f" ε = {attack.epsilon:g}"
        bound = f"{NORMS[attack.norm]}{epsilon}{pixels}{_band_text(attack)}"
    what = "odds" if attack.keeps_odds else "labels"
    kept = f", {what} of {plural(attack.n_others, 'other network')} kept" if attack.n_others else ""
    # Two-layer networks go without saying.
    models = [
        f"adversarial {section.model.name}" if section.is_adversarial else section.model.name
        for section in (config.standard, config.perturbation)
    ]
    networks = f", f {models[0]}, g {models[1]}" if any(name != "two_layer" for name in models) else ""
    return (
        f"{config.name}: {data}{classes}{networks}, {bound}, {source}, "
        f"targets {attack.targets}{kept}, {plural(len(config.seeds), 'seed')}{size_text(size)}"
    )


def aligned(lines: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> list[str]:
    """Lines of cells as columns two spaces apart.

    Args:
        lines: as many cells in each.
        left: columns that start at their left edge; the others end at their right edge.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def framed(title: str, lines: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> list[str]:
    """A table between rules, under its title.

    Args:
        title: what it shows.
        lines: heads, and as many cells in each further line.
        left: as for `aligned`.
    """
    heads, *rows = aligned(lines, left=left)
    rule = "-" * max(map(len, (title, heads, *rows)))
    return [title, rule, heads, rule, *rows, rule]


def listed(lines: Sequence[str]) -> list[str]:
    """Sentences as a list."""
    return [f"- {line}" for line in lines]


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells as a table in Markdown."""
    lines = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


_IN_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "\n": " ", "–": "--", "…": r"\ldots{}", "±": r"$\pm$", "×": r"$\times$",
    "−": "$-$", "∞": r"$\infty$", "ε": r"$\varepsilon$", "γ": r"$\gamma$",
    "f̂": r"$\hat{f}$", "ĝ": r"$\hat{g}$", "ₙ": "$_n$", "′": "$'$",
}  # fmt: skip
"""Characters that LaTeX would read as something else, or not at all."""


def latex_table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)
) -> str:
    """Cells as a table in LaTeX, for the package booktabs.

    Args:
        caption: what it shows.
        heads: of the columns.
        rows: as many cells in each.
        left: columns that start at their left edge; the others end at their right edge.
    """

    def line(cells: Sequence[str]) -> str:
        return f"{' & '.join(map(_latex, cells))} \\\\"

    columns = "".join("l" if column in left else "r" for column in range(len(heads)))
    return "\n".join(
        (
            r"\begin{table}", r"\centering", rf"\caption{{{_latex(caption)}.}}", rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule", line(heads), r"\midrule", *map(line, rows), r"\bottomrule", r"\end{tabular}", r"\end{table}",
            "",
        )
    )  # fmt: skip


def _latex(text: str) -> str:
    # An f with its hat is two characters.
    letters: list[str] = re.findall(".\u0302?", text, re.DOTALL)
    return "".join(_IN_LATEX.get(letter, letter) for letter in letters)


def html_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Cells as a table that runs nothing, whatever they say."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_lines(lines: Sequence[str]) -> str:
    """A paragraph for each line."""
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def html_answer(text: str) -> str:
    """A paragraph whose first sentence, the answer, stands out."""
    first, dot, rest = text.partition(". ")
    return f"<p><b>{html.escape(first + dot.strip())}</b> {html.escape(rest)}</p>"
