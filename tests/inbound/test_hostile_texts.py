"""Texts that strangers or tables write take time in proportion to their length, whatever is in them."""

from __future__ import annotations

import ast
import asyncio
import re
import time
from contextlib import suppress
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import airflow_provider_winsms
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gsm7 import check_text, composed, spell_strictly, transliterate
from airflow_provider_winsms.inbound.feeds import FeedRow
from airflow_provider_winsms.inbound.filters import CHARACTERS_READ, Pattern, first_word, selection
from airflow_provider_winsms.messages import IncomingMessage
from airflow_provider_winsms.options import items_of_text
from airflow_provider_winsms.phone import InvalidPhoneNumber, NumberReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = Path(airflow_provider_winsms.__file__).parent

LENGTH, TIMES_LONGER = 400, 4
MOST_TIMES_SLOWER = 9
"""A search that grows with the square of the length is 16 times slower."""

RUNS = ("a", "1", "0", " ", "!", "\r", ".", "-", "(", "+", ",", "_", "1 ", "1-", "\u0301\u0327")
BEGINNINGS, ENDS = ("", "1"), ("", "a")


def growth(act: Callable[[str], object], make: Callable[[int], str]) -> float:
    """Return how many times longer an act takes on a text that is ``TIMES_LONGER`` longer."""

    def seconds(length: int, repeats: int) -> float:
        text, best = make(length), float("inf")
        for _ in range(repeats):
            start = time.thread_time()
            with suppress(InvalidMessage, InvalidPhoneNumber):
                act(text)
            best = min(best, time.thread_time() - start)
        return best

    ratio = 0.0
    # Another process may have disturbed a measurement: what is slow is so every time.
    for repeats in (1, 3, 9):
        ratio = seconds(LENGTH * TIMES_LONGER, repeats) / seconds(LENGTH, repeats)
        if ratio < MOST_TIMES_SLOWER:
            break
    return ratio


def slow_texts(act: Callable[[str], object]) -> list[tuple[str, str, str]]:
    """Return the beginning, run and end of texts that an act takes too long with."""

    def make(beginning: str, run: str, end: str) -> Callable[[int], str]:
        return lambda length: beginning + run * (length // len(run)) + end

    texts = product(BEGINNINGS, RUNS, ENDS)
    return [text for text in texts if growth(act, make(*text)) >= MOST_TIMES_SLOWER]


def searches() -> Iterator[tuple[str, Callable[[str], object]]]:
    """Yield each search with a regular expression in the package, by its place."""
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(("airflow_provider_winsms", *file.relative_to(PACKAGE).with_suffix("").parts))
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found = _search(name, node, node.func)
                if found is not None:
                    yield f"{name}: {ast.unparse(node.func)} in line {node.lineno}", found


def _search(module: str, call: ast.Call, function: ast.Attribute) -> Callable[[str], object] | None:
    owner, method = function.value, function.attr
    if not isinstance(owner, ast.Name) or method in {"compile", "escape"}:
        return None
    if owner.id == "re":
        # What is escaped is searched for as it stands.
        pattern = re.compile(
            "a" if "re.escape" in ast.unparse(call.args[0]) else ast.literal_eval(call.args[0])
        )
    elif owner.id.isupper() and isinstance(getattr(import_module(module), owner.id, None), re.Pattern):
        pattern = getattr(import_module(module), owner.id)
    else:
        return None
    search: Callable[..., object] = getattr(pattern, method)
    return (lambda text: search("", text)) if method == "sub" else search


SEARCHES = dict(searches())

FUNCTIONS: dict[str, Callable[[str], object]] = {
    "the first word": first_word,
    "spelling in the GSM alphabet": transliterate,
    "strict spelling in the GSM alphabet": spell_strictly,
    "checking a text": check_text,
    "putting marks in order": composed,
    "the items of a text": lambda text: items_of_text(text, "to"),
    "a number": NumberReader("27").read,
    "a listed number": lambda text: NumberReader("27").read_all([text]),
}


def test_the_searches_of_the_package_are_found() -> None:
    patterns = {
        pattern
        for file in PACKAGE.rglob("*.py")
        for pattern in re.findall(r"^(_[A-Z_]+) = re\.compile", file.read_text(), re.MULTILINE)
    }
    used = {found for place in SEARCHES for found in re.findall(r": (\w+)\.", place)} - {"re"}
    # One is a part of another one, and one is read by the sandbox's parser of arguments.
    assert used >= patterns - {"_IDENTIFIER", "_PREFIX"}


@pytest.mark.parametrize("place", SEARCHES)
def test_a_search_takes_time_in_proportion_to_the_text(place: str) -> None:
    assert slow_texts(SEARCHES[place]) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_reading_takes_time_in_proportion_to_the_text(name: str) -> None:
    assert slow_texts(FUNCTIONS[name]) == []


def test_the_growth_of_a_slow_search_is_noticed() -> None:
    search = re.compile(r"\W+$").search
    assert growth(search, lambda length: "a" + "!" * length + "a") >= MOST_TIMES_SLOWER


@pytest.mark.parametrize("expression", [r"(a+)+b", r"(a|a)*b", r"(\W+)+$", r"^(([a-z])+.)+[A-Z]$", r"(.*)*b"])
def test_a_pattern_of_a_watcher_takes_time_in_proportion_to_the_text(expression: str) -> None:
    # Searched for as it is, without the thread, whose time is not this one's.
    search = Pattern(expression)._compiled.search
    assert slow_texts(lambda text: search(text.encode())) == []


@pytest.mark.parametrize("text", ["a" + "!" * 918 + "a", "a" + "!" * 39_000 + "a", "a" * 10**6])
async def test_a_search_of_a_watcher_leaves_the_event_loop_to_others(text: str) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    row = FeedRow("1", 1, IncomingMessage(1, "27825559871", None, text))
    await asyncio.sleep(0)
    before = turns
    assert await selection("incoming", None, r"(a+)+b", ()).payload(row, None) is None
    assert turns > before
    task.cancel()


@pytest.mark.parametrize(
    ("expression", "text", "is_found"),
    [
        ("(?i)please$", "Yes, PLEASE", True),
        (r"(?i)m\pLre", "MÔRE", True),
        ("é", "cafe\u0301", False),
        (r"\bja\b", "ja \ud800", True),
        ("^a+$", "a" * 100, True),
        ("b", "a" * CHARACTERS_READ + "b", False),
        ("", "", True),
    ],
)
async def test_a_pattern_is_found_where_it_is(expression: str, text: str, is_found: bool) -> None:
    row = FeedRow("1", 1, IncomingMessage(1, "27825559871", None, text))
    payload = await selection("incoming", None, expression, ()).payload(row, None)
    assert (payload is not None) is is_found


@pytest.mark.parametrize("marks", [1, 29, 30, 31, 60, 61, 1000])
def test_any_number_of_marks_is_left_out(marks: int) -> None:
    assert transliterate("Thi" + "\u0302" * marks + "s") == "This"
    assert transliterate("e" + "\u0301" + "\u0327" * marks) in {"é", "e"}
