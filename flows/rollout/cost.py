"""What deployments cost: instances times hours, and a price where the definition of the deployment says one. Pure."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from flows.errors import ParameterError
from flows.rollout.policy import RolloutPolicy
from flows.serving.endpoints import Deployment
from flows.spec.model.endpoint import OnlineDeploymentSpec

PRICE = "tandem.price_per_instance_hour"
HOURS_A_DAY = 24.0


@dataclass(frozen=True, slots=True)
class Price:
    """What an instance costs an hour, as a person has looked it up; the currency is empty if none is named."""

    amount: float
    currency: str = ""

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Price | None":
        """Read the tag of a deployment's definition, such as ``0.293 EUR``; None if it is not there.

        Raises:
            ParameterError: It is no number with a currency.
        """
        if PRICE not in tags:
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]{0,8}|[^\w\s]?)", tags[PRICE].strip())
        if found is None:
            raise ParameterError(
                f"The tag {PRICE} is {tags[PRICE]!r}, and not a number with or without a currency, such as 0.293 EUR. "
                "Nothing was changed."
            )
        return cls(float(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Cost:
    """Instance hours, and what they cost.

    Attributes:
        hours: Instances times hours.
        money: By currency, of those hours whose price is known.
        unpriced: The hours whose price is not known.
    """

    hours: float
    money: Mapping[str, float]
    unpriced: float

    @property
    def text(self) -> str:
        """For a person: ``24 instance hours (7.03 EUR)``; without a price only the hours."""
        return f"{_number(self.hours)} instance hours{f' ({self.price})' if self.price else ''}"

    @property
    def rounded(self) -> dict[str, float]:
        """The money by currency, to a hundredth, for machines."""
        return {currency: round(amount, 2) for currency, amount in self.money.items()}

    @property
    def price(self) -> str:
        """The money alone: ``7.03 EUR``; empty where no price is known."""
        parts = [f"{amount:,.2f} {currency}".rstrip() for currency, amount in sorted(self.money.items())]
        if parts and self.unpriced:
            parts.append(f"{_number(self.unpriced)} hours without a price")
        return " + ".join(parts)


def cost_a_day(deployments: Iterable[Deployment]) -> Cost:
    """What deployments cost a day while they exist, with or without traffic."""
    return _cost(deployments, lambda _: HOURS_A_DAY)


def cost_so_far(deployments: Iterable[Deployment], now: datetime) -> Cost:
    """What deployments have cost since they were made, if each always had the instances that it has now."""

    def hours(one: Deployment) -> float:
        return 0.0 if one.created is None else max(0.0, (now - one.created).total_seconds() / 3600)

    return _cost(deployments, hours)


def expected_cost(spec: OnlineDeploymentSpec, policy: RolloutPolicy, others: int) -> str:
    """What a rollout will cost, for a person, before it begins.

    Args:
        spec: The definition of the new deployment.
        policy: How long each share is held, and the old deployment is kept.
        others: How many deployments there are beside it.

    Raises:
        ParameterError: The tag with the price cannot be read.
    """
    price = Price.of(spec.tags)
    day = _of(spec.instances * HOURS_A_DAY, price)
    text = f"{spec.instances} × {spec.instance_type}: {day.text} a day, with or without traffic"
    if not others:
        return text
    held = len(policy.steps) + (1 if policy.mirror_percent else 0)
    seconds = policy.pause_seconds * held + policy.keep_seconds
    more = _of(spec.instances * seconds / 3600, price)
    return f"{text}; old and new exist together for at least {seconds / 60:.0f} min: {more.text} more"


def _cost(deployments: Iterable[Deployment], hours: Callable[[Deployment], float]) -> Cost:
    money, total, unpriced = defaultdict[str, float](float), 0.0, 0.0
    for one in deployments:
        cost = _of(one.instances * hours(one), _known_price(one))
        total, unpriced = total + cost.hours, unpriced + cost.unpriced
        for currency, amount in cost.money.items():
            money[currency] += amount
    return Cost(total, dict(money), unpriced)


def _of(hours: float, price: Price | None) -> Cost:
    return Cost(hours, {}, hours) if price is None else Cost(hours, {price.currency: hours * price.amount}, 0.0)


def _known_price(deployment: Deployment) -> Price | None:
    try:
        return Price.of(deployment.tags)
    except ParameterError:  # of a deployment that is there: something else has written it
        return None


def _number(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"
