"""Remedies for network faults: a proxy, a certificate authority, or a slow service."""

import re
from collections.abc import Mapping

from flows.plain_text.addresses import without_user

_SLOW = re.compile(r"read timed out|no answer within", re.IGNORECASE)
_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED|SSLError|\[SSL", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"proxy|failed to establish|connection (?:refused|reset|aborted)|name or service not known|resolve|timed out|"
    r"unreachable|does not answer",
    re.IGNORECASE,
)


def way_remedy(text: str, environment: Mapping[str, str]) -> str:
    """What to do if the network kept a service from answering; empty if the error came from the service itself."""
    if _UNTRUSTED.search(text):
        return "Name the file with the certificate authorities of your network in REQUESTS_CA_BUNDLE"
    if _SLOW.search(text):
        return "It was reached, and is slow: try again in a while"
    if not _UNREACHABLE.search(text):
        return ""
    proxy = environment.get("HTTPS_PROXY") or environment.get("https_proxy")
    if not proxy:
        return "See that this machine can reach the network; behind a proxy, set HTTPS_PROXY"
    return f"See that the proxy that HTTPS_PROXY names ({without_user(proxy)}) runs, or unset HTTPS_PROXY"
