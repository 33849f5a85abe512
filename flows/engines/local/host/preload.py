"""Modules that a step will import, which the step host imports ahead of time.

They are found in the source of its script and of the modules beside it, inside functions too, and in what the step was
seen to import when it ran before (:mod:`flows.engines.local.host.seen_imports`).
"""

import ast
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from flows.engines.local.host.seen_imports import SeenImports
from flows.engines.local.host.step_imports import is_preloadable
from flows.engines.plan.steps import StepPlan
from flows.spec.graph import order
from flows.spec.model.job import JobSpec, Step
from flows.spec.render import render_command

# Only words that a shell would pass on as they are; anything else is left to a real shell.
_PLAIN = re.compile(r"[\w \t./,:=@%+'\"-]*")
_INTERPRETERS = {"python", "python3"}

# What libraries import inside functions, and nearly every script that uses them needs. A name that another version does
# not have is skipped.
_LATE = {
    "mlflow": (
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.workspace_aware_mixin",
        "sqlalchemy.dialects.sqlite",
        "alembic.command",
        "git",
    ),
    "mlflow.sklearn": ("mlflow.sklearn", "skops.io", "mlflow.pyfunc.model"),
    "matplotlib.figure": ("matplotlib.backends.backend_agg",),
    "pandas.read_parquet": ("pyarrow.parquet", "pyarrow.dataset"),
    "sklearn.pipeline": ("narwhals._pandas_like.dataframe",),
}


def plain_script(command: str) -> list[str] | None:
    """Return ``[script, argument…]`` if the command is just ``python script.py …``, else None."""
    command = command.strip(" \t\n")
    if not _PLAIN.fullmatch(command):
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if len(words) < 2 or words[0] not in _INTERPRETERS or not re.fullmatch(r"[^-].*\.py", words[1]):
        return None
    return words[1:]


def imported_modules(script: Path, includes: Sequence[Path] = ()) -> list[str]:
    """Return what a script and the local modules that it imports may import, inside functions too.

    Local modules lie beside the script, or among the additional includes, which will lie there when it runs. They are
    not among what is returned.

    ``package:name`` stands for ``from package import name`` and for the use of ``package.name``, where the name may or
    may not be a submodule. A script that cannot be read or parsed imports nothing here: running it will say why.
    """
    found: dict[str, None] = {}
    seen: set[Path] = set()

    def visit(path: Path) -> None:
        if path in seen:
            return
        seen.add(path)
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return
        for module in _imports(tree, _package_of(path, script.parent, includes)):
            local = _local_modules(module, script.parent, includes)
            for file in local:
                visit(file)
            if not local:
                found[module] = None
                for late in _LATE.get(module.replace(":", "."), ()):
                    found[late] = None

    visit(script)
    return list(found)


def _local_modules(module: str, folder: Path, includes: Sequence[Path]) -> list[Path]:
    """The files of a local module and of the packages that it is in; of ``package:name`` also that of the name."""
    names = re.split(r"[.:]", module)
    files = [_local_module(names[: length + 1], folder, includes) for length in range(len(names))]
    return [file for file in files if file is not None]


def _local_module(names: Sequence[str], folder: Path, includes: Sequence[Path]) -> Path | None:
    """The file of a module in a folder or in what is included there; None if it is in neither."""
    for root, part in _places(folder, includes):
        path = root / Path(*names)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_relative_to(part) and candidate.is_file():
                return candidate
    return None


def _places(folder: Path, includes: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Where local modules are looked for: a folder, and the part of it that the step will have."""
    yield folder, folder
    yield from ((include.parent, include) for include in includes)


def _package_of(path: Path, folder: Path, includes: Sequence[Path]) -> list[str]:
    """The package that a local module is in, as a list of names; empty beside the script."""
    for root, part in _places(folder, includes):
        if path.is_relative_to(part):
            return list(path.relative_to(root).parts[:-1])
    return []


def modules_of(step: Step, seen: SeenImports) -> list[str]:
    """What a step will import, by its source and as it was seen before; empty if its command is no plain script."""
    component = step.component
    any_value = dict.fromkeys([*component.inputs, *component.outputs], "x")
    script = plain_script(render_command(component.command, any_value, any_value))
    if step.parallel is not None:
        script = [step.parallel.entry_script]
    if not script or component.code is None or has_own_variables(step):
        return []
    found = imported_modules(component.code / script[0], component.additional_includes)
    return list(dict.fromkeys([*found, *seen.of(component)]))


def preloaded_modules(step: Step, seen: SeenImports) -> tuple[str, ...]:
    """The modules that the step host will import for a step, by their full names, but for the memory that they take."""
    names = (module.partition(":")[0] for module in modules_of(step, seen))
    return tuple(dict.fromkeys(filter(is_preloadable, names)))


def has_own_variables(step: Step) -> bool:
    """Whether a step sets environment variables, which a library may read as it is imported: it is never forked."""
    return bool(step.component.environment_variables or step.environment_variables)


def modules_to_preload(spec: JobSpec, plans: Mapping[str, StepPlan], seen: SeenImports) -> list[str]:
    """What the steps that (may) run import, in the order in which the steps run."""
    running = (name for name in order(spec) if not (name in plans and plans[name].reused))
    return list(dict.fromkeys(module for name in running for module in modules_of(spec.steps[name], seen)))


def _imports(tree: ast.Module, package: Sequence[str]) -> Iterator[str]:
    """The modules that a module of a package imports, those inside functions last."""
    aliases: dict[str, str] = {}
    for node in sorted(_statements(tree.body), key=lambda found: found[0]):
        match node[1]:
            case ast.Import(names=names):
                for alias in names:
                    first = alias.name.partition(".")[0]
                    aliases[alias.asname or first] = alias.name if alias.asname else first
                    yield alias.name
            case ast.ImportFrom(module=name, names=names, level=level) if level <= len(package):
                above = package[: len(package) - level + 1] if level else ()
                module = ".".join([*above, *([name] if name else [])])
                yield module
                for alias in names:
                    yield f"{module}:{alias.name}"
            case _:
                pass
    used = {
        f"{aliases[node.value.id]}:{node.attr}": None
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases
    }
    yield from used


def _statements(body: Iterable[ast.AST], depth: int = 0) -> Iterator[tuple[int, ast.AST]]:
    """All statements, each with the number of functions that it is in.

    Left out is what only a type checker sees, and what is done where something failed.
    """
    for node in body:
        if isinstance(node, ast.expr | ast.ExceptHandler):
            continue
        yield depth, node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        inside = depth + isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _statements(ast.iter_child_nodes(node), inside)
