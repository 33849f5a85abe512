"""Room on the interpreter's call stack. Imports the standard library only, since the step host uses it."""

from typing import Any, Callable, TypeVar  # noqa: UP035 (the steps' interpreter may be an old one)

STACK_WORDS = 1 << 16  # 512 KiB of addresses; the interpreter then allocates 1 MiB, and touches only what is used

F = TypeVar("F", bound=Callable[..., Any])


def with_room_to_call(function: F) -> F:
    """Decorate a function so that all that it calls finds its place in one piece of the interpreter's stack.

    CPython (from 3.11 on) allocates the stack of Python's frames in pieces of 16 KiB, and returns a piece to the system
    when its last frame is left. A loop that happens to run at the end of a piece therefore makes two system calls and a
    page fault for each call of a function, and is some hundred times as slow. A large frame makes the interpreter
    allocate a large piece, of which the frame itself, not being used, takes no memory.
    """
    code: Any = function.__code__
    function.__code__ = code.replace(co_stacksize=STACK_WORDS)  # pyright: ignore[reportFunctionMemberAccess]
    return function
