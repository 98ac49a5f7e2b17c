"""The house itself: imports point downwards and make no circle, and signatures say what they take.

Imports are read from the source, those inside functions and for type checkers included.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "raymoe"
# From the ground up; ARCHITECTURE.md draws the same.
LAYERS = (
    "errors",
    "catalogue",
    "runtime",
    "config",
    "project",
    "actors",
    "task",
    "data",
    "features",
    "models",
    "training",
    "attribution",
    "interactions",
    "probe",
    "display",
    "experiments",
    "report",
    "pipeline",
    "cli",
)
ENTRY = ("__init__", "__main__")  # of the package itself
FULLY_TYPED = ("interactions", "models", "probe", "project")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports_of(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in its source."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return found - {module}


def named_by(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]


IMPORTS = {module: imports_of(module) for module in MODULES}


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def circles() -> Iterator[list[str]]:
    """Groups of modules that import each other, directly or by way of others (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> Iterator[list[str]]:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(IMPORTS[module]):
            if other not in index:
                yield from visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            members = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(members) > 1:
                yield members

    for module in MODULES:
        if module not in index:
            yield from visit(module)


def test_no_circles_between_files():
    assert list(circles()) == []


def test_every_folder_has_its_place():
    folders = {layer_of(module) for module in MODULES} - set(ENTRY)
    assert folders == set(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module):
    own = layer_of(module)
    if own in ENTRY:
        return
    below = LAYERS[: LAYERS.index(own) + 1]
    upwards = {other for other in IMPORTS[module] if layer_of(other) not in (*below, "__init__")}
    assert not upwards, f"{module} imports {', '.join(sorted(upwards))}, above it"


def test_formulas_know_no_ray_and_ray_code_no_formula():
    for module, path in MODULES.items():
        names = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
        }
        if layer_of(module) in ("task", "models", "attribution", "interactions", "display", "config"):
            assert "ray" not in names, module
        if layer_of(module) == "actors":
            assert not {layer_of(other) for other in IMPORTS[module]} & {"interactions", "models"}, module


def test_few_modules_lie_loose():
    loose = {path.stem for path in PACKAGE.glob("*.py")} - set(ENTRY)
    assert len(loose) <= 5, loose


def test_a_file_name_means_one_thing():
    """But for the roles that every folder of their kind has."""
    roles = {"__init__", "base", "measure", "show"}
    names = [path.stem for path in MODULES.values() if path.stem not in roles]
    twice = sorted({name for name in names if names.count(name) > 1})
    assert twice == []


def test_a_class_name_means_one_thing():
    names = [
        node.name
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize("folder", FULLY_TYPED)
def test_signatures_say_what_they_take(folder):
    """No ``Any``."""
    vague = []
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            every += [a for a in (arguments.vararg, arguments.kwarg) if a]
            annotations = [a.annotation for a in every if a.annotation] + (
                [node.returns] if node.returns else []
            )
            if any(isinstance(n, ast.Name) and n.id == "Any" for a in annotations for n in ast.walk(a)):
                vague.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not vague
