"""Failed sign-in in one sentence, from what a chain of credentials says.

``DefaultAzureCredential`` tells at length what each of its credentials wants to be set up. Only one that is set up, and
was refused, has something to say that helps.
"""

import re

TRIED = re.compile(r"^\t(\w+): ", re.MULTILINE)  # in what a chain of credentials says
SIGN_IN = (
    "Sign in (`az login`), or set the variables of a service principal, or MANAGED_IDENTITY_CLIENT_ID on a machine "
    "with that identity. `tandem doctor` looks at each."
)


def said_by_each(message: str) -> dict[str, str]:
    """What each credential that was tried said, in that order, read from the message of the chain; empty for others."""
    tried = message.partition("Attempted credentials:")[2].partition("\nTo mitigate this issue")[0]
    _, *parts = TRIED.split(tried)
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def stopped_by(said: dict[str, str], credentials: int) -> str | None:
    """The credential that is set up here but was refused: none of the others was tried after it.

    Args:
        said: As of :func:`said_by_each`.
        credentials: How many the chain has.
    """
    return next(reversed(said), None) if len(said) < credentials else None


def no_credential(message: str, credentials: int) -> str:
    """That nobody is signed in, why, and how to. The arguments are those of :func:`why_no_token`."""
    return f"No credential was accepted: {why_no_token(message, credentials)}\n{SIGN_IN}"


def why_no_token(message: str, credentials: int) -> str:
    """Why there is no token, in one line.

    Args:
        message: What the chain of credentials said.
        credentials: How many the chain has.
    """
    said = said_by_each(message)
    name = next(iter(said), None) if len(said) == 1 else stopped_by(said, credentials)
    if name is not None:
        return f"{name}: {said[name]}"
    if said:
        return f"none of the {len(said)} ways to sign in that were tried is set up here"
    return " ".join(message.split())
