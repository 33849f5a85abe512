"""Words for messages: a noun with its article, a count with its noun, and the nearest right name."""

from collections.abc import Iterable
from difflib import get_close_matches

from flows.spec.text.names import MAX_NAME_BYTES, shown


def a(noun: str) -> str:
    """A noun with its article: ``an integer``, but ``a uri_file``."""
    return f"{'an' if noun[0] in 'aeio' or noun[:2] in ('ml', 'ML') else 'a'} {noun}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 step``, ``2 steps``, ``2 processes``."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """A question for the known name that is most like a word, in whichever case; empty where none is like it.

    Args:
        word: What the person wrote.
        known: The names that would be right.
        likeness: How like the name has to be, from 0 to 1, as :func:`difflib.get_close_matches` has it.
    """
    names = {name.lower(): name for name in known}
    near = get_close_matches(word.lower()[:MAX_NAME_BYTES], names, n=1, cutoff=likeness)
    return f"Did you mean {shown(names[near[0]], MAX_NAME_BYTES)}?" if near else ""
