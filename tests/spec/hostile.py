"""Hostile YAML, built in code: files that are deep, wide, cyclic, huge, binary or wrong, by what they try."""

from collections.abc import Callable, Mapping

# Everything that a reader may meet, as (text of job.yml, further files).
Files = Mapping[str, str | bytes]
COMMAND = "command: echo\nenvironment: {image: a}\n"
PIPELINE = "type: pipeline\nsettings: {default_compute: azureml:c}\n"


def _job(text: str | bytes) -> Files:
    return {"job.yml": text}


def _chain(count: int) -> str:
    """Steps each of whose input is that of the step before."""
    steps = ["  s0: {command: echo, environment: {image: a}, inputs: {x: {path: azureml:a:1}}}"]
    node = "{{command: echo, environment: {{image: a}}, inputs: {{x: '${{{{parent.jobs.s{before}.inputs.x}}}}'}}}}"
    steps += [f"  s{at}: {node.format(before=at - 1)}" for at in range(1, count)]
    return PIPELINE + "jobs:\n" + "\n".join(reversed(steps))


def _ring(count: int) -> str:
    steps = [
        f"  s{at}: {{component: 'azureml:a:1', inputs: {{x: \"${{{{parent.jobs.s{(at + 1) % count}.outputs.x}}}}\"}}}}"
        for at in range(count)
    ]
    return PIPELINE + "jobs:\n" + "\n".join(steps)


def _laughs(width: int = 10, depth: int = 9) -> str:
    lines = [f"a0: &a0 [{', '.join('1' * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(lines)


def _merges(width: int = 10, depth: int = 9) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * width)}]}}" for n in range(1, depth)]
    return "\n".join(lines)


def _files_of_files(width: int = 30, depth: int = 6) -> Files:
    """Pipelines that each have the next many times."""
    files = {
        f"p{at}.yml": f"$schema: pipelineComponent.schema.json\ntype: pipeline\nname: p{at}\njobs:\n"
        + "\n".join(f"  s{n}: {{component: ./p{at + 1}.yml}}" for n in range(width))
        for at in range(depth)
    }
    last = {f"p{depth}.yml": f"type: command\nname: c\n{COMMAND}"}
    return {"job.yml": PIPELINE + "jobs: {a: {type: pipeline, component: ./p0.yml}}", **files, **last}


def _nested(depth: int) -> str:
    text = "{b: {command: echo, environment: {image: a}}}"
    for _ in range(depth):
        text = f"{{a: {{type: pipeline, jobs: {text}}}}}"
    return f"{PIPELINE}jobs: {text}"


def _wide_and_nested(depth: int, count: int) -> str:
    tags = ", ".join(f"t{at}: 1" for at in range(count))
    text = f"{{b: {{command: echo, environment: {{image: a}}, tags: {{{tags}}}}}}}"
    for _ in range(depth):
        text = f"{{a: {{type: pipeline, jobs: {text}}}}}"
    return f"{PIPELINE}jobs: {text}"


def _component_of_many(ports: int, steps: int) -> Files:
    inputs = ", ".join(f"i{at}: {{type: string, optional: true}}" for at in range(ports))
    nodes = "\n".join(f"  s{at}: {{component: ./c.yml}}" for at in range(steps))
    return {
        "job.yml": f"{PIPELINE}jobs:\n{nodes}",
        "c.yml": f"name: c\ntype: command\n{COMMAND}inputs: {{{inputs}}}",
    }


def _conda(text: str) -> Files:
    return {"job.yml": "command: echo\nenvironment: {image: a, conda_file: conda.yml}\n", "conda.yml": text}


def _long_keys() -> str:
    text = "{" + ", ".join(f"k{at}: 1" for at in range(60_000)) + "}"
    for _ in range(90):
        text = f"{{? {'k' * 900} : {text}}}"
    return f"tags: {text}"


# Each is refused; by a name, so that a test that fails says which it was.
REFUSED: Mapping[str, Callable[[], Files]] = {
    "ten megabytes": lambda: _job(COMMAND + "description: " + "x" * 10_000_000),
    "a command of ten megabytes": lambda: _job("command: " + "x" * 10_000_000 + "\nenvironment: {image: a}"),
    "a command of a megabyte": lambda: _job("command: " + "x" * 1_000_000 + "\nenvironment: {image: a}"),
    "a long variable": lambda: _job(COMMAND + f"environment_variables: {{A: {'x' * 131_070}}}"),
    "binary": lambda: _job(bytes(range(256)) * 100),
    "zeros": lambda: _job(b"\0" * 1_000_000),
    "UTF-16": lambda: _job((COMMAND).encode("utf-16")),
    "half of a character": lambda: _job((COMMAND + "description: \ud800").encode("utf-8", "surrogatepass")),
    "an escaped half of a character": lambda: _job(COMMAND + 'description: "\\ud800"'),
    "an escaped zero": lambda: _job(COMMAND + 'description: "a\\0b"'),
    "a zero in a key": lambda: _job(COMMAND + 'tags: {"a\\0b": 1}'),
    "a zero in a variable": lambda: _job(COMMAND + 'environment_variables: {A: "a\\0b"}'),
    "brackets": lambda: _job("[" * 1_000_000),
    "braces": lambda: _job("{" * 1_000_000),
    "nested keys": lambda: _job("? " * 100_000),
    "dashes": lambda: _job("- " * 100_000),
    "101 levels": lambda: _job("a: " + "[" * 101 + "]" * 101),
    "a list of a million": lambda: _job("a: [" + "1," * 1_000_000 + "]"),
    "110,000 inputs": lambda: _job(COMMAND + "inputs:\n" + "\n".join(f"  i{at}: 1" for at in range(110_000))),
    "50,000 unknown keys": lambda: _job(COMMAND + "\n".join(f"key{at}: 1" for at in range(50_000))),
    "50,000 wrong inputs": lambda: _job(COMMAND + "inputs:\n" + "\n".join(f"  'i {at}': 1" for at in range(50_000))),
    "the same key 50,000 times": lambda: _job(COMMAND + "a: 1\n" * 50_000),
    "laughs": lambda: _job(_laughs()),
    "merged laughs": lambda: _job(_merges()),
    "laughs of texts": lambda: _job(f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 50_000)}]"),
    "laughs of keys": lambda: _job(_long_keys()),
    "a chain of merges": lambda: _job(
        "? [x]\n: &a0 {x: 1}\n"
        + "\n".join(f"? [x{n}]\n: &a{n} {{<<: *a{n - 1}}}" for n in range(1, 3000))
        + "\nz: *a2999"
    ),
    "an alias in itself": lambda: _job("a: &a [*a]"),
    "a merge of itself": lambda: _job("a: &a {<<: *a, b: *a}"),
    "a merge of a text": lambda: _job("a: {<<: b}"),
    "a long key": lambda: _job(COMMAND + f"tags: {{? {'k' * 1001} : 1}}"),
    "directives": lambda: _job("%TAG !a! b\n" * 100_000 + "---\na: 1"),
    "odd tags": lambda: _job(
        "a: !!python/object/apply:os.system [echo]\nb: !!set {x}\nc: !!omap [a: 1]\nd: !!binary aGk=\n"
        "e: !!pairs [a: 1]\nf: !!float ''\ng: !!int ''\nh: !!timestamp x\ni: !x y\nj: =\n=: 1\n"
        "k: !!bool ''\nl: !!null x\nm: !!str {a: 1}"
    ),
    "long numbers": lambda: _job(
        f"{COMMAND}inputs: {{a: {'9' * 100_000}, b: 0x{'f' * 100_000}, c: {'1:' * 20_000}1, d: 1{'_' * 50_000}e5}}"
    ),
    "a long default": lambda: _job(
        f"name: c\ntype: command\n{COMMAND}inputs: {{a: {{type: integer, default: {'9' * 400}}}, b: {{type: string}}}}"
    ),
    "a long size of mini-batches": lambda: _job(
        "type: parallel\ntask: {type: run_function, entry_script: a.py, environment: {image: a}}\n"
        f"input_data: ${{{{inputs.x}}}}\nmini_batch_size: '{'9' * 5000}'\ninputs: {{x: {{path: azureml:a:1}}}}"
    ),
    "a schema of letters": lambda: _job(f"$schema: {'a' * 130_000}\na: 1"),
    "spaces in an expression": lambda: _job(
        f"{PIPELINE}jobs: {{a: {{component: 'azureml:a:1', inputs: {{x: \"${{{{{' ' * 130_000}x y\"}}}}, b: 1}}"
    ),
    "blocks in a command": lambda: _job(f"command: '{'$[[' * 40_000}${{{{inputs.x}}}}'\nenvironment: {{image: a}}"),
    "closed blocks in a command": lambda: _job(f"command: '{'$[[${{inputs.x}}]]' * 7_000}'\nenvironment: {{image: a}}"),
    "braces in a command": lambda: _job(
        f"command: '{'{inputs.' * 14_000}${{{{inputs.x}}}}'\nenvironment: {{image: a}}"
    ),
    "spaces in a command": lambda: _job(f"command: '${{{{{' ' * 120_000}${{{{inputs.x}}}}'\nenvironment: {{image: a}}"),
    "references in a command": lambda: _job(
        "command: '"
        + " ".join(f"${{{{inputs.x{at}}}}}" for at in range(6_000))
        + "'\nenvironment: {image: a}\ninputs:\n"
        + "\n".join(f"  y{at}: 1" for at in range(6_000))
    ),
    "a ring of 4,000 steps": lambda: _job(_ring(4_000)),
    "20,000 steps": lambda: _job(
        PIPELINE + "jobs:\n" + "\n".join(f"  s{at}: {{component: 'azureml:a:1'}}" for at in range(20_000))
    ),
    "pipelines of pipelines": _files_of_files,
    "pipelines in pipelines": lambda: _job(_nested(12)),
    "a large component many times": lambda: _component_of_many(10_000, 5_000),
    "a deep conda file": lambda: _conda("[" * 100_000),
    "a conda file of laughs": lambda: _conda(_laughs()),
    "a large conda file": lambda: _conda("a" * 5_000_000),
    "a device as a conda file": lambda: _job("command: echo\nenvironment: {image: a, conda_file: /dev/zero}"),
    "a device as a component": lambda: _job(PIPELINE + "jobs: {a: {component: /dev/zero}}"),
    "the file system as code": lambda: _job(COMMAND + "code: /"),
    "the file system as an include": lambda: _job(
        PIPELINE + "jobs: {a: {command: echo, environment: {image: a}, additional_includes: [/]}}"
    ),
    "an = in a variable": lambda: _job(COMMAND + 'environment_variables: {"LD PRELOAD=x": "1"}'),
    "a variable without a name": lambda: _job(COMMAND + 'environment_variables: {"": "1"}'),
    "a command as the name of an input": lambda: _job(COMMAND + 'inputs: {"a b; touch": 1}'),
    "a folder as the name of a job": lambda: _job(COMMAND + "name: /some/folder"),
}

# Those that take a second or more.
SLOW = frozenset(
    {
        *("50,000 unknown keys", "50,000 wrong inputs", "the same key 50,000 times", "laughs", "laughs of keys"),
        *("a ring of 4,000 steps", "20,000 steps", "pipelines of pipelines", "a large component many times"),
        *(
            "90,000 inputs",
            "3,000 steps in a chain",
            "wide in nested pipelines",
            "a list of a million",
            "110,000 inputs",
        ),
    }
)

# Each is valid, and large; what it takes to say so has the same limits.
VALID: Mapping[str, Callable[[], Files]] = {
    "20,000 inputs": lambda: _job(COMMAND + "inputs:\n" + "\n".join(f"  i{at}: 1" for at in range(20_000))),
    "90,000 inputs": lambda: _job(COMMAND + "inputs:\n" + "\n".join(f"  i{at}: 1" for at in range(90_000))),
    "a long command": lambda: _job(f"command: {'x' * 131_000}\nenvironment: {{image: a}}"),
    "3,000 steps in a chain": lambda: _job(_chain(3_000)),
    "wide in nested pipelines": lambda: _job(_wide_and_nested(8, 80_000)),
}
