"""A process of tests gives hundreds of commands: it reads the signature of each function once, not every time."""

from __future__ import annotations

from copy import copy
from typing import Any

from cyclopts import App, ArgumentCollection

assemble = App.assemble_argument_collection
_read: dict[object, tuple[App, ArgumentCollection]] = {}
"""By application, function and options; an application that is held has its id for itself."""


def assemble_once(app: App, **options: Any) -> ArgumentCollection:
    """What `App.assemble_argument_collection` returns: arguments without words, which parsing then adds to them."""
    if options.get("default_parameter") is not None:
        return assemble(app, **options)
    key = id(app), app.default_command, *sorted(options.items())
    if key not in _read:
        _read[key] = app, assemble(app, **options)
    found = _read[key][1]
    copies = {id(argument): copy(argument) for argument in found}
    for argument in copies.values():
        argument.tokens = []
        argument.children = ArgumentCollection(copies[id(child)] for child in argument.children)
    return ArgumentCollection(copies[id(argument)] for argument in found)
