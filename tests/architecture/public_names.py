"""The committed list of public names: a name comes or goes only where the list shows it.

`make names` (this module with `--write`) brings the list up to date; without `--write` it prints the names.
"""

import ast
import sys
from pathlib import Path

from tests.architecture.tree import SOURCE, Module, Tree

LIST = Path(__file__).with_name("public_names.txt")
COMMAND = "make names"


def listed_names(path: Path = LIST) -> list[str]:
    """The names in the committed list."""
    return path.read_text(encoding="utf-8").splitlines()


def public_names(tree: Tree) -> list[str]:
    """Every `module:name` that a public module's `__all__` lists."""
    return sorted(f"{module.name}:{name}" for module in tree if module.is_public for name in exported(module) or ())


def exported(module: Module) -> list[str] | None:
    """What its `__all__` lists; `None` if there is none that can be read without running it."""
    for node in module.syntax.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=items) | ast.Tuple(elts=items))
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.List(elts=items) | ast.Tuple(elts=items))
            ):
                names = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
                return names if len(names) == len(items) else None
    return None


def main(arguments: list[str]) -> None:
    """Write or print the names."""
    text = "".join(f"{name}\n" for name in public_names(Tree(SOURCE)))
    if arguments == ["--write"]:
        LIST.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
