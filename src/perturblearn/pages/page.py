"""A page: one HTML file that holds all it needs, runs nothing that names and messages say, and works offline."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from perturblearn.report.charts import to_plotly
from perturblearn.report.charts.palette import css
from perturblearn.store import replacing, versions

if TYPE_CHECKING:
    from jinja2 import Environment

_PLOTLY = "plotly/plotly-cartesian.min.js"
"""What draws charts: plotly.js 4.1.1 without what pages do not use (maps, 3D, WebGL), with its licence beside
it. It is the file of the npm package plotly.js-cartesian-dist-min, unchanged."""
# Not the joiners U+200C and U+200D, which words of some languages need.
_UNSEEN = re.compile("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""Characters that show nothing and turn around, or hide, what stands beside them."""


class Card(NamedTuple):
    """A headline number: the kind that colours it, its name, the number, and what it is of."""

    kind: str
    name: str
    number: str
    about: str


def render(template: str, scripts: Sequence[str] = (), *, has_charts: bool = True, **values: Any) -> str:
    """A page as text.

    Args:
        template: its file in ``templates``.
        scripts: files in ``assets`` that it runs after ``base.js``.
        has_charts: whether the library that draws charts is put into it.
        values: what the template asks for.
    """
    code = [asset("base.js"), *map(asset, scripts)]
    if has_charts:
        code.insert(0, asset(_PLOTLY))
    hashes = " ".join(f"'sha256-{_digest(each)}'" for each in code)
    return (
        _environment()
        .get_template(template, globals={"to_plotly": to_plotly})
        .render(
            version=versions()["perturblearn"],
            style=Markup(css() + asset("page.css")),
            code=list(map(Markup, code)),
            hashes=hashes,
            **values,
        )
    )


def write_page(text: str, path: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def visible(value: Any) -> Any:
    """A value with every text in it such that what would not be seen is: right-to-left marks by their number."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return _UNSEEN.sub(lambda match: f"[U+{ord(match.group()):04X}]", value)
    if isinstance(value, Mapping):
        return {visible(name): visible(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible(each) for each in value]
    return value


def shown_toml(text: str) -> str:
    """TOML with such characters by their number as TOML has it, so that it can be copied and is still the same."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match.group()):04X}", text)


def as_data(value: Any) -> Markup:
    """A value as JSON that may stand in an element ``script``: nothing in it ends that element."""
    text = json.dumps(visible(value), allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@lru_cache
def asset(name: str) -> str:
    """A file of ``assets``."""
    return files("perturblearn.pages").joinpath("assets", name).read_text(encoding="utf-8")


@lru_cache
def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


@lru_cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("perturblearn.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )
    environment.filters["as_data"] = as_data
    return environment
