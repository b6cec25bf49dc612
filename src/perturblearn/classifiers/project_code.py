"""Which code is the user's own: names that a function uses, and the files of a project."""

from __future__ import annotations

import dis
import hashlib
import importlib.util
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_LIBRARIES = frozenset({"perturblearn", "torch", "numpy"})
"""Libraries wherever they are installed, also from a checkout. Their versions are recorded with every result."""
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
_MAIN = ("__main__", "__mp_main__")


@dataclass(frozen=True)
class Uses:
    """What some code uses from around it.

    Args:
        globals: paths such as ``("settings", "EPSILON")``, in the order in which they are first used.
        imports: what it imports itself: number of leading dots, the module's name, and names that are taken from it.
    """

    globals: tuple[tuple[str, ...], ...]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class CodeFile:
    """The file of a module.

    Args:
        digest: SHA-256 of its content.
        imports: names of the modules that it may import; none for an installed one.
    """

    digest: str
    imports: tuple[str, ...]


_read: dict[str, tuple[Any, CodeFile]] = {}
"""Files read in this process by module, with what identifies the version that was read."""


@cache
def uses(code: CodeType) -> Uses:
    """What a function's code, and functions defined in it, use from around them."""
    paths: dict[tuple[str, ...], None] = {}
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    path: tuple[str, ...] = ()
    recent: tuple[Any, Any] = (None, None)
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")):
            path = (instruction.argval,)
        elif path and name in ("LOAD_ATTR", "LOAD_METHOD"):
            paths.pop(path, None)
            path = (*path, instruction.argval)
        else:
            path = ()
        if path:
            paths[path] = None
        if name == "IMPORT_NAME":
            level, taken = recent
            imports.append((level or 0, instruction.argval, tuple(taken or ())))
        recent = recent[1], instruction.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            within = uses(inner)
            paths |= dict.fromkeys(within.globals)
            imports += within.imports
    return Uses(tuple(paths), tuple(imports))


def is_library(name: str | None) -> bool:
    """Whether a module belongs to Python, to this package or to an installed one, rather than to the user's project."""
    if name is None or name in _MAIN:
        return False
    top = name.partition(".")[0]
    if top in _LIBRARIES or top in sys.builtin_module_names:
        return True
    module = sys.modules.get(name) or sys.modules.get(top)
    file = getattr(module, "__file__", None)
    if file is None:
        places = list(getattr(module, "__path__", ()))
        return _is_installed(Path(places[0])) if places else top in sys.stdlib_module_names
    return _is_installed(Path(file))


@cache
def _is_installed(path: Path) -> bool:
    return bool(_INSTALLED & set(path.parts)) or any(path.is_relative_to(folder) for folder in _STANDARD)


def project_files(name: str) -> Iterator[tuple[str, str]]:
    """The file of a module and those of the project that it imports, directly or indirectly: names and SHA-256.

    A module that is in memory counts as it was when its file was first read; an edited file says nothing about it until
    it is loaded again. The program's main module has no file here: it changes with everything that is tried out in it.
    """
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = None if name in _MAIN or is_library(name) else _code_file(name)
        if file is not None:
            yield name, file.digest
            waiting += file.imports


def installed_file(name: str) -> str:
    """SHA-256 of the file of an installed module; empty for those of Python and of the libraries that are recorded."""
    top = name.partition(".")[0]
    if top in _LIBRARIES or top in sys.stdlib_module_names:
        return ""
    file = _code_file(name)
    return "" if file is None else file.digest


def imported_names(used: Uses, package: str | None) -> Iterator[str]:
    """Names of the modules that code in some package may import, those that there are not included."""
    for level, name, taken in used.imports:
        try:
            base = importlib.util.resolve_name("." * level + name, package) if level else name
        except ImportError:
            continue
        yield base
        yield from (f"{base}.{part}" for part in taken if part != "*")


def _code_file(name: str) -> CodeFile | None:
    module = sys.modules.get(name)
    path = _path_of(name) if module is None else _file_of(module)
    try:
        # A reload gives a module another specification.
        version = module.__spec__ or module if module is not None else (path, path and path.stat().st_mtime_ns)
        known, found = _read.get(name, (None, None))
        # By identity: specifications of two versions of a file are equal.
        if found is not None and (known is version or (module is None and known == version)):
            return found
        content = path.read_bytes() if path is not None else b""
    except OSError:
        return None
    if path is None:
        return None
    is_package = path.name == "__init__.py"
    package = name if is_package else name.rpartition(".")[0]
    imports: tuple[str, ...] = (package,) if package and package != name else ()
    if path.suffix == ".py" and not is_library(name):
        imports += tuple(imported_names(_uses_of_source(content), package))
    found = CodeFile(hashlib.sha256(content).hexdigest(), imports)
    _read[name] = version, found
    return found


def _uses_of_source(content: bytes) -> Uses:
    try:
        with warnings.catch_warnings(action="ignore"):
            return uses(compile(content, "", "exec", dont_inherit=True))
    except (SyntaxError, ValueError):  # it cannot be imported either
        return Uses((), ())


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def _path_of(name: str) -> Path | None:
    """The file of a module that is not loaded, without importing anything."""
    top, *rest = name.split(".")
    if top in _LIBRARIES or top in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    if not rest:
        path = Path(spec.origin) if spec.origin and spec.has_location else None
    else:
        inner = [place.joinpath(*rest) for place in places]
        files = [file for place in inner for file in (place.with_suffix(".py"), place / "__init__.py")]
        path = next((file for file in files if file.is_file()), None)
    return None if path is None or _is_installed(path) else path
