"""Write ``docs/keys.md``, the table of keys as a page: ``python -m flows.engines.local.keys.page > docs/keys.md``."""

from collections import Counter
from collections.abc import Iterator

from flows.engines.local.keys.kinds import KINDS, KeyedKind, rows_of
from flows.engines.local.keys.table import ROWS, Row, Treatment
from flows.spec.reading.work.elsewhere import REFUSALS

_BEGIN = """\
# What this machine does with each key

Look up what the local engine does with a key of your YAML, before you compare a run here with one on Azure ML. The
shortest command says it of one file:

```
tandem validate --engine local pipeline.yml
```

`tandem plan` says it too. This page is made from the table in the code: `make docs-keys`.

| here | meaning |
|---|---|
| honoured | the key has the effect that it has on Azure ML |
| emulated | what it asks for is done in another way, or in part |
| ignored | what runs, and what it is given, is the same without it |
| refused | what has it does not run here, and `tandem` says so before anything starts |
| dropped | the service adds it when it shows a job; Azure ML drops it from a file too |

A row holds for all that stands below its key, unless that has a row of its own. `*` stands for a name that you give;
`jobs.*.` begins the key of a step, and `component.` that of a component, where these are treated otherwise.
"""


def page() -> str:
    """The page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _BEGIN
    for title, rows in ROWS.items():
        yield f"## {title}\n\n| key | here | why, or how |\n|---|---|---|"
        for path, row in rows.items():
            yield f"| `{path}` | {_here(row)} | {row.reason} |"
        yield ""
    yield "## Kinds that are refused\n\nAll of their keys are refused with them.\n\n| kind | why |\n|---|---|"
    yield from (f"| `{kind}` | It {why}. |" for kind, why in REFUSALS.items())
    yield "\n## How many\n\nEach key of each kind, with those below it.\n"
    yield f"| kind | {' | '.join(Treatment)} |\n|---|{'---:|' * len(Treatment)}"
    counts = {kind.title: _count(kind) for kind in KINDS.values()}
    for title, count in {**counts, "**all**": sum(counts.values(), Counter[Treatment]())}.items():
        yield f"| {title} | {' | '.join(str(count[each] or '') for each in Treatment)} |"


def _here(row: Row) -> str:
    only = f" if {row.values}, else honoured" if row.values else ""
    return f"{row.treatment}{only}" + (f"; refused if {row.refused_if}" if row.refused_if else "")


def _count(kind: KeyedKind) -> "Counter[Treatment]":
    return Counter(row.treatment for _, _, row in rows_of(kind) if row is not None)


if __name__ == "__main__":
    print(page(), end="")
