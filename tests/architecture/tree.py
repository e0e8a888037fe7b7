"""Reads a package's source as syntax: which modules there are, what each imports, which outside names it touches.

Nothing is imported or run, so a module that is half written or slow to load is judged like any other. What cannot be
seen this way: a module whose name is put together at run time (`import_module(name)`); with a literal it is seen.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path

PACKAGE = "locum"
SOURCE = Path(__file__).parents[2] / "src"


class When(Enum):
    """When an import takes effect."""

    LOADING = "while the module loads"
    CALLED = "when a function is called"
    TYPING = "for the type checker only"


@dataclass(frozen=True)
class Import:
    """One imported thing: `name` is what was taken from the module `target`, where that is not a module itself."""

    target: str
    name: str | None
    line: int
    when: When


@dataclass(frozen=True)
class Reference:
    """A name or attribute, spelled out through imports: after `from time import time as t`, `t` is `time.time`."""

    name: str
    line: int
    is_called: bool


@dataclass(frozen=True)
class Module:
    """One file of the tree."""

    name: str
    path: Path
    is_package: bool
    syntax: ast.Module
    imports: tuple[Import, ...] = field(repr=False)

    @property
    def room(self) -> str:
        """The part of the house this belongs to: `keeper` for `locum.keeper.cell`, and nothing for the face."""
        return room_of(self.name)

    @property
    def is_public(self) -> bool:
        """Whether no part of its name starts with an underscore."""
        return not any(part.startswith("_") for part in self.name.split("."))

    def at(self, line: int) -> str:
        """The place as editors and terminals understand it."""
        return f"{self.path}:{line}"

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Every name and attribute in it, also those of names that no import explains (`self._loop.time`)."""
        aliases = dict(_aliases(self))
        called = {id(node.func) for node in ast.walk(self.syntax) if isinstance(node, ast.Call)}
        return tuple(
            Reference(_spelled(node, aliases), node.lineno, id(node) in called)
            for node in ast.walk(self.syntax)
            if isinstance(node, ast.Name | ast.Attribute)
        )


class Tree:
    """All modules of the package, by name."""

    def __init__(self, source: Path, package: str = PACKAGE) -> None:
        files = {_name_of(path, source): path for path in sorted((source / package).rglob("*.py"))}
        self.modules: Mapping[str, Module] = {name: _read(name, path, files) for name, path in files.items()}

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules.values())

    def imports(self) -> Iterator[tuple[Module, Import]]:
        """Every import with the module it stands in."""
        for module in self:
            for imported in module.imports:
                yield module, imported

    def inner_imports(self) -> Iterator[tuple[Module, Import]]:
        """The imports of the package's own modules."""
        return ((module, imported) for module, imported in self.imports() if top_of(imported.target) == PACKAGE)


def top_of(name: str) -> str:
    """The distribution's part of a dotted name."""
    return name.partition(".")[0]


def room_of(name: str) -> str:
    """The second part of a dotted name."""
    return name.partition(".")[2].partition(".")[0]


def _name_of(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _read(name: str, path: Path, known: Mapping[str, Path]) -> Module:
    syntax = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    is_package = path.name == "__init__.py"
    home = name if is_package else name.rpartition(".")[0]
    return Module(name, path, is_package, syntax, tuple(_imports(syntax, home, known, When.LOADING)))


def _imports(node: ast.AST, home: str, known: Mapping[str, Path], when: When) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(alias.name, None, node.lineno, when)
        case ast.ImportFrom(module=module, names=names, level=level):
            origin = _absolute(module or "", level, home)
            for alias in names:
                submodule = f"{origin}.{alias.name}"
                is_module = submodule in known
                yield Import(submodule if is_module else origin, None if is_module else alias.name, node.lineno, when)
        case ast.Call(func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module")):
            match node.args:
                case [ast.Constant(value=str(literal)), *_]:
                    bare = literal.lstrip(".")
                    yield Import(_absolute(bare, len(literal) - len(bare), home), None, node.lineno, when)
    for child, child_when in _children(node, when):
        yield from _imports(child, home, known, child_when)


def _children(node: ast.AST, when: When) -> Iterator[tuple[ast.AST, When]]:
    apart: list[ast.stmt] | list[ast.expr] = []
    inside = when
    match node:
        case ast.If(test=test, body=body) if _is_type_checking(test):
            apart, inside = body, When.TYPING
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body):
            apart, inside = body, _later(when)  # not its defaults and decorators: those are evaluated at once
        case ast.Lambda(body=value):
            apart, inside = [value], _later(when)
    for child in ast.iter_child_nodes(node):
        yield child, inside if child in apart else when


def _later(when: When) -> When:
    return When.CALLED if when is When.LOADING else when


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


def _absolute(module: str, level: int, home: str) -> str:
    if level == 0:
        return module
    base = home.split(".")[: len(home.split(".")) - level + 1]
    return ".".join([*base, module] if module else base)


def _aliases(module: Module) -> Iterator[tuple[str, str]]:
    home = module.name if module.is_package else module.name.rpartition(".")[0]
    for node in ast.walk(module.syntax):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield (alias.asname, alias.name) if alias.asname else (top_of(alias.name), top_of(alias.name))
            case ast.ImportFrom(module=origin, names=names, level=level):
                for alias in names:
                    yield alias.asname or alias.name, f"{_absolute(origin or '', level, home)}.{alias.name}"


def _spelled(node: ast.expr, aliases: Mapping[str, str]) -> str:
    match node:
        case ast.Name(id=name):
            return aliases.get(name, name)
        case ast.Attribute(value=value, attr=attr):
            return f"{_spelled(value, aliases)}.{attr}"
        case ast.Call(func=func):
            return f"{_spelled(func, aliases)}()"
    return "?"  # a subscript, a literal: nothing that an import explains
