"""An approval by reply: who was asked, which replies are answers, and what they decide.

An answer is a reply from a number that was asked. It names its own code and one of the options. What is
stored holds neither numbers nor codes, only their keyed hashes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.messages import mask_number
from airflow_provider_winsms.options import check_answers, check_conn_id, check_count
from airflow_provider_winsms.polling.schedule import Schedule
from airflow_provider_winsms.polling.shared_question import TrackerWithoutIds
from airflow_provider_winsms.polling.waits import (
    WaitEvent,
    check_text,
    checked_fields,
    deferral_timeout,
    raise_if_refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.inbound.replies import Reply
    from airflow_provider_winsms.options import Check

QUESTION_DIGITS = 2
"""The first digits of a code: the same for all people of a question. They tell questions apart."""

CODE_DIGITS = 6
"""The digits of a code."""

MOST_WRONG_CODES = 5
"""After so many wrong codes, no reply from the number counts any more."""

_WORDS = re.compile(r"[^\W\d_]+|\d+")
_CODE_WITHIN = 3  # words after the option


class Codes:
    """The codes of one question, one for each number. They are the same whenever they are computed.

    :param hashes: of the connection of the gateway.
    :param question: identifies the question.
    """

    def __init__(self, hashes: KeyedHash, question: str) -> None:
        self._hashes = hashes
        self.question = question

    def of(self, number: str) -> str:
        """Return the code of a number."""
        return self.of_question + self._digits(CODE_DIGITS - QUESTION_DIGITS, number)

    @property
    def of_question(self) -> str:
        """The digits with which all codes of the question begin."""
        return self._digits(QUESTION_DIGITS)

    def _digits(self, count: int, *parts: str) -> str:
        digest = self._hashes.of_parts("approval code", self.question, *parts)
        return f"{int(digest, 16) % 10**count:0{count}d}"

    def approver(self, number: str) -> list[str]:
        """Return what is stored of a person who was asked: the hash of the number, and that of the code."""
        return [self.hash_of(number), self.hash_of(number, self.of(number))]

    def hash_of(self, *parts: str) -> str:
        """Return the hash of a number, or of a number and a code."""
        return self._hashes.of_parts("approver", self.question, *parts)


class Answer(NamedTuple):
    """What one person has answered.

    :param number: masked.
    :param at: ISO 8601 text in UTC; ``None`` if the gateway does not tell.
    """

    number: str
    option: str
    at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWait:
    """One wait for answers. It holds no number, no text, no code and no secret.

    Instants are in seconds since the epoch.

    :param question: identifies the question.
    :param key_id: of the key of the hashes.
    :param approvers: the hashes of each number, and of each number with its code.
    :param options: the answers that there are. The first one approves.
    :param needed: how many answers decide for an option.
    :param is_vote: whether the options are equal. If not, one answer for another than the first one decides.
    :param since: earlier replies do not count.
    """

    sms_conn_id: str
    question: str
    key_id: str
    approvers: list[list[str]] = field(repr=False)
    options: list[str]
    needed: int
    is_vote: bool
    since: float
    shortest_pause: float
    first_at: float
    end_at: float

    @property
    def schedule(self) -> Schedule:
        """When to look: after a pause that is always the same."""
        return Schedule(self.first_at, self.shortest_pause, 0.0)

    def tracker(self, hashes: KeyedHash) -> ApprovalTracker:
        """Return a tracker of the answers.

        :raises ConfigurationError: if the connection has another key than when the question was sent.
        """
        if hashes.key_id != self.key_id:
            msg = (
                f"The API key or hash_secret of the connection {self.sms_conn_id!r} has changed since the "
                'question was sent, so no answer can be checked. Clear the task with on_clear="resend": it '
                "asks again."
            )
            raise ConfigurationError(msg)
        return ApprovalTracker(self, Codes(hashes, self.question))

    def deferral_timeout(self, now: float) -> timedelta:
        """Return how long Airflow waits for the trigger."""
        return deferral_timeout(self.end_at, now)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the database keeps while a task is deferred."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> ApprovalWait:
        """Read what ``to_json`` wrote.

        :raises InvalidMessage: naming a fact that is missing or wrong.
        """
        return cls(**checked_fields(cls, value, _CHECKS, "The wait for an approval"))


class ApprovalTracker(TrackerWithoutIds):
    """Keeps the answers to a question."""

    def __init__(self, wait: ApprovalWait, codes: Codes) -> None:
        self._wait = wait
        self._codes = codes
        self._approvers = {number: code for number, code in wait.approvers}  # noqa: C416 - typed pairs
        self._answers: dict[str, Answer] = {}
        self.ignored: Counter[str] = Counter()
        """How many replies of people who were asked did not count, by reason."""
        self._wrong: Counter[str] = Counter()
        self._seen: set[str] = set()
        self.since = wait.since
        self.is_served = False
        """Whether it has got all replies that were read before."""

    @property
    def answers(self) -> list[Answer]:
        """The answers, in the order of their arrival."""
        return list(self._answers.values())

    @property
    def chosen(self) -> str | None:
        """The option that is decided for; ``None``: none yet."""
        votes = Counter(answer.option for answer in self.answers)
        if not self._wait.is_vote:
            first, *others = self._wait.options
            against = (option for option in others if votes[option])
            return next(against, first if votes[first] >= self._wait.needed else None)
        return next((option for option, count in votes.items() if count >= self._wait.needed), None)

    @property
    def is_settled(self) -> bool:
        """Whether further answers change nothing."""
        return self.chosen is not None or len(self._answers) == len(self._approvers)

    def record(self, replies: Iterable[Reply], now: float) -> None:
        """Record replies. One that was recorded before changes nothing."""
        for reply in replies:
            if reply.key not in self._seen and not self.is_settled:
                self._seen.add(reply.key)
                self._consider(reply, now)

    def _consider(self, reply: Reply, now: float) -> None:
        person = self._codes.hash_of(reply.number)
        if person not in self._approvers:
            return
        # What is read before the end has arrived before it, whatever the gateway's clock says.
        at = now if reply.at is None else min(reply.at, now)
        option, code = read_answer(reply.text, self._wait.options)
        if at < self._wait.since:
            return
        if at > self._wait.end_at:
            self.ignored["too_late"] += 1
        elif person in self._answers:
            self.ignored["answered_before"] += 1
        elif option is None or code is None or not code.startswith(self._codes.of_question):
            self.ignored["no_answer"] += 1
        elif self._wrong[person] >= MOST_WRONG_CODES:
            self.ignored["too_many_wrong_codes"] += 1
        elif self._codes.hash_of(reply.number, code) != self._approvers[person]:
            self._wrong[person] += 1
            self.ignored["wrong_code"] += 1
        else:
            self._answers[person] = Answer(mask_number(reply.number), option, _iso(reply.at))


def read_answer(text: str, options: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the option and the code of a reply; ``None`` for what it lacks.

    The reply begins with the option, and the code is among the next words; or it begins with the code, and
    the option follows. So ``not yes 471123`` is no answer. Neither is a reply with two codes or two options.
    """
    words = _WORDS.findall(unicodedata.normalize("NFKC", text).casefold())
    named = {option.casefold(): option for option in options}
    codes = [word for word in words if word.isdecimal() and len(word) == CODE_DIGITS]
    if len(codes) != 1 or len(named.keys() & set(words)) != 1:
        return None, None
    (code,) = codes
    if words[0] in named and code in words[1 : 1 + _CODE_WITHIN]:
        return named[words[0]], code
    return (named.get(words[1]) if words[0] == code and len(words) > 1 else None), code


class ApprovalEvent(WaitEvent, total=False):
    """What was decided, or the permanent error that ended the wait."""

    chosen: str | None
    answers: list[list[str | None]]
    ignored: dict[str, int]


@dataclass(frozen=True, slots=True)
class ApprovalResult:
    """How a wait for answers ended.

    :param chosen: the option that was decided for; ``None``: there were too few answers.
    :param timed_out: whether its time was over.
    :param trouble: the error of the last question, or an empty string.
    :param ignored: how many replies of people who were asked did not count, by reason.
    """

    chosen: str | None
    answers: Sequence[Answer]
    timed_out: bool
    trouble: str = ""
    ignored: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, tracker: ApprovalTracker, trouble: str) -> ApprovalResult:
        """Return the result if the wait ends now."""
        return cls(tracker.chosen, tracker.answers, not tracker.is_settled, trouble, dict(tracker.ignored))

    def to_event(self) -> ApprovalEvent:
        """Return the event that carries it."""
        return {
            "ended": "timed_out" if self.timed_out else "settled",
            "trouble": self.trouble,
            "chosen": self.chosen,
            "answers": [list(answer) for answer in self.answers],
            "ignored": dict(self.ignored),
        }

    @classmethod
    def from_event(cls, event: ApprovalEvent) -> ApprovalResult:
        """Read an event.

        :raises SmsError: the permanent error that ended the wait.
        """
        raise_if_refused(event)
        answers = [Answer(*answer) for answer in event["answers"]]  # type: ignore[arg-type] # as written
        is_over = event["ended"] == "timed_out"
        return cls(event["chosen"], answers, is_over, event.get("trouble", ""), event.get("ignored", {}))


def _check_approvers(name: str, approvers: object) -> None:
    rows = approvers if isinstance(approvers, list) else [None]
    if not all(isinstance(row, list) and list(map(type, row)) == [str, str] for row in rows):
        msg = f"{name} must be pairs of hashes."
        raise InvalidMessage(msg)


def _check_needed(name: str, needed: object) -> None:
    check_count(name, needed, 1, 1000)


def _check_vote(name: str, is_vote: object) -> None:
    if not isinstance(is_vote, bool):
        msg = f"{name} must be true or false."
        raise InvalidMessage(msg)


def _iso(at: float | None) -> str | None:
    from datetime import UTC, datetime

    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


_CHECKS: Mapping[str, Check] = {
    "sms_conn_id": check_conn_id,
    "question": check_text,
    "key_id": check_text,
    "approvers": _check_approvers,
    "options": check_answers,
    "needed": _check_needed,
    "is_vote": _check_vote,
}
"""The checks of facts that are no times. Times are numbers, 0 or more."""
