"""The limits on one kind of request, as a request meets them: which buckets it is charged to."""

from __future__ import annotations

from launchkit.pipeline.effects import Charge
from launchkit.pipeline.exchange import Exchange
from launchkit.rate_limit.answers import policy_name
from launchkit.rate_limit.rules import Limit, Rule


class Meter:
    """One limit of one rule, as a request meets it."""

    __slots__ = ("by_account", "by_address", "limit", "prefix", "quota", "refunded", "rule", "told")

    def __init__(self, rule: Rule, limit: Limit) -> None:
        self.rule = rule
        self.limit = limit
        self.quota = limit.quota
        self.prefix = limit.prefix
        self.refunded = limit.refunded
        self.by_account = limit.by.by_account
        self.by_address = limit.by.by_address
        self.told = policy_name(limit.name) if limit.by.is_own else None

    def key(self, exchange: Exchange, address: str | None) -> str | None:
        """Return the bucket's key, but for the account; None not to count."""
        value = self.limit.by.value(exchange, address)
        return None if value is None else self.prefix + value


def charges_of(meters: list[Meter], exchange: Exchange, address: str | None) -> list[Charge | None]:
    """Return one charge for each meter; None where it does not count this request."""
    return [None if (key := meter.key(exchange, address)) is None else Charge(key, meter.quota) for meter in meters]


def account_charges(
    meters: list[Meter],
    exchange: Exchange,
    address: str | None,
    accounts: tuple[str, ...],
    devices: dict[str, str | None],
) -> tuple[list[Meter], list[Charge | None]]:
    """Return one charge for each meter and account; that of a known device is its own."""
    found: list[Meter] = []
    charges: list[Charge | None] = []
    for meter in meters:
        key = meter.key(exchange, address)
        if key is None or (address is None and meter.by_address):
            continue
        for account in accounts:
            device = devices.get(account) if meter.rule.knows_devices else None
            found.append(meter)
            charges.append(Charge(f"{key}|{account}|{device}" if device else f"{key}|{account}", meter.quota))
    return found, charges


def strictest(meters: list[Meter]) -> str:
    """Return what is to be done while the store is down."""
    found = {meter.rule.on_outage for meter in meters}
    return "closed" if "closed" in found else "local" if "local" in found else "open"


def policies_of(meters: list[Meter]) -> bytes:
    """Return the value of `RateLimit-Policy`."""
    told = [
        f"{meter.told};q={amount};w={seconds:.0f}"
        for meter in meters
        if meter.told is not None
        for amount, seconds in meter.quota.windows
    ]
    return ", ".join(told).encode()
