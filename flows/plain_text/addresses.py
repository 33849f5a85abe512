"""Addresses of servers, without the name and password that may be in them."""

from urllib.parse import urlsplit


def without_user(url: str) -> str:
    """An address without the name and password that may be in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
