import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.spec.render import render_command


@pytest.mark.parametrize(
    ("command", "rendered"),
    [
        ("run ${{inputs.a}} ${{ inputs.a }} ${{outputs.o}}", "run 1 1 /o"),
        ("run $[[--b ${{inputs.b}}]]", "run "),
        ("run $[[--a ${{inputs.a}}]]", "run --a 1"),
        ("run $[[--a ${{inputs.a}} --b ${{inputs.b}}]] end", "run  end"),
        ("run $[[text]]", "run text"),
        ("run\n  $[[--a\n  ${{inputs.a}}]]", "run\n  --a\n  1"),
        ("echo $HOME ${X} $(ls) {a} \\n", "echo $HOME ${X} $(ls) {a} \\n"),
        ("run ${{inputs.a}}${{inputs.a}}", "run 11"),
    ],
)
def test_a_command_is_rendered(command: str, rendered: str) -> None:
    assert render_command(command, {"a": "1", "b": None}, {"o": "/o"}) == rendered


@given(first=st.text(), second=st.text(), output=st.text())
def test_any_value_survives_verbatim(first: str, second: str, output: str) -> None:
    command = "a ${{inputs.x}} b $[[c ${{inputs.y}}]] d ${{outputs.o}} e"
    assert render_command(command, {"x": first, "y": second}, {"o": output}) == f"a {first} b c {second} d {output} e"


@pytest.mark.parametrize("value", ["${{inputs.b}}", "$[[x]]", "]]", "$[[", r"\1 \g<0> \\", "${{", "}}", "$x"])
def test_a_value_that_looks_like_an_expression_is_left_alone(value: str) -> None:
    assert render_command("$[[${{inputs.a}}]] ${{inputs.b}}", {"a": value, "b": value}, {}) == f"{value} {value}"
