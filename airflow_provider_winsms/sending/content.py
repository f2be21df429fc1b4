"""Checks of what a DAG gives to send. They refuse what can be refused without a gateway.

DAG files run them, so they import little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import Recipient, is_table

_SEGMENTS = re.compile(r"\s*\+?0*[1-9][0-9]{0,2}(\.0*)?\s*")
"""A number of segments, as a template or a data frame may write it. A gateway allows up to some number."""


def check_sendable(_: str, text: object) -> None:
    """Check that a text has words, and no character that no gateway sends. The alphabet is the gateway's.

    :raises InvalidMessage: it has not.
    """
    from airflow_provider_winsms.gateways.alphabets import refuse_unsendable
    from airflow_provider_winsms.sending.composer import words_of

    refuse_unsendable(words_of(text))


def check_to(name: str, to: object) -> None:
    """Check that a parameter can hold numbers.

    :raises InvalidMessage: it is of another type.
    """
    is_number = isinstance(to, (Integral, Decimal, float, Recipient)) and not isinstance(to, bool)
    if not is_number and (isinstance(to, (bytes, Mapping)) or not hasattr(to, "__iter__")):
        msg = f"`{name}` is of type {type(to).__name__}. Give a number or a list of numbers."
        raise InvalidMessage(msg)


def check_send_at(_: str, send_at: object) -> None:
    """Check that a parameter is an aware time.

    :raises InvalidMessage: it is not.
    """
    from airflow_provider_winsms.sending.composer import parse_send_at

    parse_send_at(send_at)


def check_max_segments(name: str, most: object) -> None:
    """Check that a parameter can be a number of segments. How many a text may take is the gateway's.

    :raises InvalidMessage: it is not.
    """
    if isinstance(most, bool) or not _SEGMENTS.fullmatch(str(most)):
        msg = f"{name} must be a whole number from 1 on."
        raise InvalidMessage(msg)


def check_messages(name: str, messages: object) -> None:
    """Check that a parameter can hold rows.

    :raises InvalidMessage: it is of another type.
    """
    if is_table(messages):
        msg = (
            f'`{name}` is a {type(messages).__name__}. Give its rows: frame.to_dict("records") of pandas, '
            "frame.to_dicts() of Polars, table.to_pylist() of Arrow."
        )
        raise InvalidMessage(msg)
    if isinstance(messages, (str, Mapping)) or not hasattr(messages, "__iter__"):
        msg = f"`{name}` must be a list of {{'text': ..., 'to': ...}}."
        raise InvalidMessage(msg)


def check_rules(name: str, rules: object) -> None:
    """Check that a parameter holds rules.

    :raises InvalidMessage: it does not.
    """
    given = rules if isinstance(rules, (list, tuple)) else [rules]
    wrong = [type(rule).__name__ for rule in given if given is not rules or not _is_rule(rule)]
    if wrong:
        msg = (
            f"`{name}` must be a list of rules, such as [OptOuts()]. Each has a method apply(draft, "
            f"context). Not one: {', '.join(wrong)}."
        )
        raise InvalidMessage(msg)


def _is_rule(rule: object) -> bool:
    return not isinstance(rule, type) and callable(getattr(rule, "apply", None))
