"""Names of networks and sizes of attacks, as tables and files call them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from perturblearn.classifiers import name_of_object
from perturblearn.config import AttackConfig, RadialPGDConfig, RebuildConfig


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Networks as they are called where room is scarce: the object's name alone, of an import path.

    Args:
        names: as configurations hold them; ``package.module:factory`` where they are the user's own.

    Returns:
        By name, in the order given: what follows the colon, with as many parts of the module before it as it takes to
        tell it from all others. Of an object that this process was handed its class, elsewhere digits of its hash.
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
        called = name_of_object(name)
        if called is not None:
            yield f"{called} (object)"
        yield f"object {last[:6]}"
    yield last if colon else name
    if colon:
        parts = module.split(".")
        yield from (f"{'.'.join(parts[-count:])}:{last}" for count in range(1, len(parts) + 1))


def size_of(attack: AttackConfig) -> tuple[float, str]:
    """How much an attack may change, as a number and as text.

    That is epsilon; coordinates where these alone bound it; and of inputs that are rebuilt the length of the way.
    """
    if isinstance(attack, RadialPGDConfig) and attack.norm == "l0":
        if attack.pixels is not None:
            return float(attack.pixels), f"{attack.pixels} px"
        assert attack.pixel_share is not None, "a configuration of norm l0 has either"
        return 100 * attack.pixel_share, f"{100 * attack.pixel_share:g} % px"
    if isinstance(attack, RebuildConfig):
        return attack.steps * attack.step, f"{attack.steps} x {attack.step:g}"
    return attack.epsilon, f"{attack.epsilon:g}"
