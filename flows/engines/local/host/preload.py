"""Modules that the steps' scripts import, found in their source, so that the step host imports them ahead of time."""

import ast
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flows.engines.plan.steps import StepPlan
from flows.spec.graph import order
from flows.spec.model.job import JobSpec
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
    """Return the modules that a script and the local modules it imports load at start, in order.

    Local modules lie beside the script, or among the additional includes, which will lie there when it runs.

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
        for module in _imports(tree):
            local = _local_module(module.partition(":")[0], script.parent, includes)
            if local is not None:
                visit(local)
            else:
                found[module] = None
                for late in _LATE.get(module.replace(":", "."), ()):
                    found[late] = None

    visit(script)
    return list(found)


def _local_module(module: str, folder: Path, includes: Sequence[Path]) -> Path | None:
    """The file of a module in a folder or in what is included there; None if it is in neither."""
    for root, part in ((folder, folder), *((include.parent, include) for include in includes)):
        path = root / Path(*module.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_relative_to(part) and candidate.is_file():
                return candidate
    return None


def modules_to_preload(spec: JobSpec, plans: Mapping[str, StepPlan]) -> list[str]:
    """What the scripts of the steps that (may) run import, in the order in which the steps run."""
    found: dict[str, None] = {}
    for name in order(spec):
        plan, component = plans.get(name), spec.steps[name].component
        any_value = dict.fromkeys([*component.inputs, *component.outputs], "x")
        script = plain_script(render_command(component.command, any_value, any_value))
        if script and component.code is not None and not (plan is not None and plan.reused):
            found.update(dict.fromkeys(imported_modules(component.code / script[0], component.additional_includes)))
    return list(found)


def _imports(tree: ast.Module) -> Iterator[str]:
    aliases: dict[str, str] = {}
    for node in _module_level(tree.body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            for alias in node.names:
                yield f"{node.module}:{alias.name}"
    used = {
        f"{aliases[node.value.id]}:{node.attr}": None
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases
    }
    yield from used


def _module_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run on import, those within ``if`` and ``try`` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _module_level(node.body)
