"""The check that a request comes from a program of this machine, not from a web page of another host.

A browser sends requests to loopback addresses for any page that it shows. The ``Host`` header has the name
under which the page reached the sandbox, also if a foreign name leads here (DNS rebinding). ``Origin`` and
``Referer`` name the host of the page.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_winsms.sandbox.wire import RequestRefused

if TYPE_CHECKING:
    from email.message import Message
    from urllib.parse import SplitResult

_AUTHORITY = re.compile(r"(?:\[(?P<bracketed>[0-9a-f:.]+)\]|(?P<name>[0-9a-z.-]+))(?::[0-9]*)?", re.ASCII)
_PAGE_HEADERS = ("Origin", "Referer")


def check_origin(target: SplitResult, headers: Message) -> None:
    """Check that a request is meant for this machine and comes from no page of another host.

    :param target: the target of the request. If it is absolute, its host is checked as ``Host`` is.
    :raises RequestRefused: 400 without exactly one ``Host``, 403 if a host is not this machine.
    """
    hosts = headers.get_all("Host", [])
    if len(hosts) != 1:
        raise RequestRefused(400, "A request to the sandbox needs exactly one Host header.")
    if not _is_here(hosts[0]) or (target.netloc and not _is_here(target.netloc)):
        raise RequestRefused(
            403,
            "The sandbox answers to localhost and loopback addresses only; the request names another host.",
        )
    for name in _PAGE_HEADERS:
        if not all(_is_page_here(url) for url in headers.get_all(name, [])):
            raise RequestRefused(
                403, f"The sandbox refuses requests from pages of other hosts; {name} names another host."
            )


def is_loopback(host: str) -> bool:
    """Whether a host is ``localhost`` or a loopback address. No name is looked up."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_here(authority: str) -> bool:
    parts = _AUTHORITY.fullmatch(authority.strip().lower())
    return parts is not None and is_loopback(parts["bracketed"] or parts["name"].removesuffix("."))


def _is_page_here(url: str) -> bool:
    try:
        page = urlsplit(url)
    except ValueError:
        return False
    return page.scheme in {"http", "https"} and _is_here(page.netloc)
