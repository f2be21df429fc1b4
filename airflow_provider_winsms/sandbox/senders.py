"""Which requests come from this machine's own programs, and not from a page in its browser.

A browser takes requests to loopback addresses from any page that it shows. The ``Host`` header tells under
which name the page reached the sandbox, also when the name of a stranger leads here (DNS rebinding);
``Origin`` and ``Referer`` tell whose page it is.
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


def check_sender(target: SplitResult, headers: Message) -> None:
    """Let a request pass that is meant for this machine and comes from no foreign page.

    :param target: the target of the request; the host of its absolute form counts as ``Host`` does.
    :raises Refusal: 400 without exactly one ``Host``, 403 where a host is not this machine.
    """
    hosts = headers.get_all("Host", [])
    if len(hosts) != 1:
        raise RequestRefused(400, "The sandbox takes requests with exactly one Host header.")
    if not _is_here(hosts[0]) or (target.netloc and not _is_here(target.netloc)):
        raise RequestRefused(
            403, "The sandbox is for localhost and loopback addresses; the request names another host."
        )
    for name in _PAGE_HEADERS:
        if not all(_is_page_here(url) for url in headers.get_all(name, [])):
            raise RequestRefused(
                403, f"The sandbox takes no requests from pages of other hosts; {name} names another."
            )


def is_loopback(host: str) -> bool:
    """Whether a host is ``localhost`` or a loopback address; names are not looked up."""
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
