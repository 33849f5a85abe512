"""Rules of Azure ML for names, shares and numbers of instances, which hold on every place of serving. Pure."""

from collections.abc import Collection, Mapping

from flows.errors import ServingError
from flows.spec.model.endpoint import MAX_MIRROR_PERCENT, NAME_RULE, is_endpoint_name
from flows.spec.text.names import shown
from flows.spec.text.words import a


def check_name(name: str, noun: str) -> None:
    """Check the name of an endpoint or a deployment that is to be made.

    Raises:
        ServingError: Azure ML takes no such name.
    """
    if not is_endpoint_name(name):
        raise ServingError(f"{shown(name)!r} cannot be the name of {a(noun)}. Nothing was made. Use {NAME_RULE}.")


def check_instances(what: str, instances: int) -> None:
    """Check the number of instances that a deployment is to have; ``what`` names that.

    Raises:
        ServingError: It is less than 1.
    """
    if instances < 1:
        raise ServingError(f"{what} cannot have {instances} instances: the least is 1. Delete it to stop its cost.")


def checked_shares(
    endpoint: str, shares: Mapping[str, int], mirror: Mapping[str, int], there: Collection[str]
) -> tuple[dict[str, int], dict[str, int]]:
    """The shares and the mirror that are not 0.

    Args:
        endpoint: The name of the endpoint.
        shares: By deployment, in percent.
        mirror: The share of requests that a deployment gets a copy of, in percent.
        there: The deployments that there are.

    Raises:
        ServingError: They name a deployment that is not there, do not sum to 0 or 100, or mirror what cannot be.
    """
    kept = f"The traffic of the endpoint {endpoint} is as it was."
    if missing := sorted({*shares, *mirror} - set(there)):
        raise ServingError(f"The endpoint {endpoint} has no deployment {', '.join(map(shown, missing))}. {kept}")
    live, copies = _given(shares), _given(mirror)
    if sum(live.values()) not in (0, 100) or any(share < 0 for share in live.values()):
        told = ", ".join(f"{name} {share} %" for name, share in live.items())
        raise ServingError(f"The shares of {endpoint} ({told}) sum to {sum(live.values())}, not to 0 or 100. {kept}")
    wrong = [name for name, share in copies.items() if not 0 < share <= MAX_MIRROR_PERCENT or name in live]
    if len(copies) > 1 or wrong:
        raise ServingError(
            f"One deployment without a share may get copies of up to {MAX_MIRROR_PERCENT} % of the requests of "
            f"{endpoint}, not {', '.join(f'{name} {share} %' for name, share in copies.items())}. {kept}"
        )
    return live, copies


def _given(shares: Mapping[str, int]) -> dict[str, int]:
    return {name: share for name, share in shares.items() if share}
