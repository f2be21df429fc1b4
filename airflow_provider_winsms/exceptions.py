"""The errors. Each class stands for one next move of the caller.

::

    SmsError
    ├── ConfigurationError      fix the connection: wrong key, locked account, trial account
    │   └── SessionExpired      the gateway ended the session; the transport signs in again, once
    ├── InvalidMessage          fix the DAG: text, number, schedule, parameter
    │   ├── InvalidRows         fix the rows: their count, and the problems of the first
    │   ├── NothingToSend       no recipient or no message; with on_empty="skip" the task is skipped
    │   └── InvalidMessageId    fix the message id: no table can hold it
    ├── QueryFailed             the database refused the query of a campaign; nothing was sent, safe to retry.
    │                           If it is_permanent, fix the cause that it names
    ├── TemplateFailed          a function for a template field failed; retried, as its cause may pass
    ├── RefusedByRule           fix the DAG, the list or the rule: a rule of the sender refuses the send
    ├── RuleFailed              a rule of one's own failed; retried, as its cause may pass
    ├── PlanNotApproved         plan again, and have that plan approved: the send is not the approved plan
    ├── SendRejected            the gateway declined recipients that the task needs
    ├── NotCancelled            scheduled texts that the task must cancel were not cancelled
    ├── GatewayUnavailable      wait; safe to retry
    ├── OutcomeUnknown          a person decides; a repeat could text people again
    ├── IdempotencyConflict     fix the DAG: the same key stands for other texts or recipients
    ├── OutOfCredits            top the account up; a retry sends to the recipients that it did not cover
    ├── ApprovalFailed          too few people answered, or one rejected: ask again, in a new run
    ├── BalanceTooLow           top the account up, then clear the task; carries the balance
    ├── SendStopped             the task is being killed; a retry resumes the send
    ├── ClocksDiffer            set the clock that is wrong; a retry resumes the send
    ├── ClaimLost               another process may send this; a retry finds its result
    ├── LedgerUnavailable       wait; safe to retry. If it is_permanent, fix the cause that it names
    ├── UnsupportedCapability   this gateway has no such operation
    ├── DeliveryFailed          texts were sent, too few arrived; carries the reports
    └── LoadFailed              the database refused; nothing was loaded, safe to retry. If it is_permanent,
                                fix the cause that it names

No message holds a phone number, a text or a key. Every error pickles with its attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from airflow_provider_winsms.messages import DeliveryReport


class SmsError(Exception):
    """Any error between a DAG and its SMS gateway."""

    is_permanent: bool = True
    """Whether a retry is pointless or unsafe."""

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.args, self.__dict__)


def rebuilt(kind: type[SmsError], args: tuple[object, ...], attributes: dict[str, object]) -> SmsError:
    """Return an error of a class with given arguments and attributes, without calling its constructor."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(SmsError):
    """Fix a connection, an account or a table first: wrong key, locked account, missing column."""


class SessionExpired(ConfigurationError):  # noqa: N818 - it names what happened, as its siblings do
    """The gateway asks to sign in again, and did not execute the request."""


class InvalidMessage(SmsError):  # noqa: N818 - it names what is wrong, as its siblings do
    """The input of the DAG is invalid, or the gateway refused it whole. Nothing was sent or loaded."""


class InvalidRows(InvalidMessage):
    """Several rows of a list are invalid. Nothing was sent.

    :param problems: the problems of the first rows, each with the position of its row.
    :param count: the number of invalid rows.
    """

    def __init__(self, problems: Sequence[str], count: int) -> None:
        rest = f"\n- and {count - len(problems)} more" if count > len(problems) else ""
        super().__init__(
            f"{count} rows are invalid. Nothing was sent. Correct them or leave them out:"
            + "".join(f"\n- {words}" for words in problems)
            + rest
        )
        self.problems = tuple(problems)
        self.count = count


class NothingToSend(InvalidMessage):
    """There are no recipients, or no messages."""


class InvalidMessageId(InvalidMessage):
    """A message id that cannot be stored. An answer to a send with such an id leaves its outcome unknown."""


class TemplateFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The DAG's function for a template field raised an error. Nothing was sent."""

    is_permanent = False


class RefusedByRule(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """A rule of the sender refuses the send. Nothing more was submitted."""


class RuleFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The code of a rule raised an error. Nothing was sent. The text of that error is not shown."""

    is_permanent = False


class PlanNotApproved(SmsError):  # noqa: N818 - it names what is wrong, as its siblings do
    """The send is not exactly the plan that was approved. This try sent nothing."""


class QueryFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The database refused the query whose rows are sent to. Nothing was sent.

    The message says whether a repeat can help. It does not quote the database, which may quote a row.

    :param kind: the type of the driver's error; empty if there was none.
    :param code: its SQLSTATE or the driver's substitute; empty if there is none.
    :param is_permanent: whether only a person can help: rights or a schema are missing, for example.
    """

    is_permanent = False

    def __init__(self, message: str, kind: str = "", code: str = "", *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.is_permanent = is_permanent


class SendRejected(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The gateway declined recipients.

    :param rejected: the number of declined recipients for each reason (a value of ``RejectReason``).
    """

    def __init__(self, message: str, rejected: Mapping[str, int]) -> None:
        super().__init__(message)
        self.rejected = dict(rejected)


class NotCancelled(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """Scheduled texts were not cancelled: they were sent, or the gateway does not know them.

    :param count: the number of texts.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class GatewayUnavailable(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The request was not executed, or a repeat does no harm: try again later.

    :param retry_after: the seconds that the gateway asks for, or ``None``.
    """

    is_permanent = False

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """A repeat could text people again: an answer was lost, or an earlier request may have been sent."""


class IdempotencyConflict(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The ledger has other texts, other recipients or another connection under the key. No more was sent."""


class OutOfCredits(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The balance did not cover all recipients. A retry sends to the recipients that it did not cover."""

    is_permanent = False


class ApprovalFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """People were asked, and did not approve: too few have answered in time, or one has rejected."""


class BalanceTooLow(SmsError):  # noqa: N818 - it names what is wrong, as its siblings do
    """The account has less than the task needs. Nothing was sent.

    :param balance: the balance, or ``None`` if the gateway states no readable one.
    :param least: the least balance that the task needs.
    """

    def __init__(self, message: str, balance: Decimal | None, least: Decimal) -> None:
        super().__init__(message)
        self.balance = balance
        self.least = least


class SendStopped(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The task was killed, and no further request left. The record stands; a retry resumes the send."""

    is_permanent = False


class ClocksDiffer(SmsError):  # noqa: N818 - it names what is wrong, as its siblings do
    """Clocks that a held send relies on are too far apart. No further request left; a retry resumes it."""

    is_permanent = False


class ClaimLost(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """Another process, such as a retry, has the claim, or it has expired. A later try resumes the send."""

    is_permanent = False


class LedgerUnavailable(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The ledger could not be read or written. Its contents stand; a retry resumes from them.

    :param is_permanent: whether only a person can help: rights or a schema are missing, for example.
    """

    is_permanent = False

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class UnsupportedCapability(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The gateway has no such operation, or the ledger cannot store its answer."""


class DeliveryFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """Fewer texts arrived than the task needs.

    :param reports: the report of each text that did not arrive, without its number.
    """

    def __init__(self, message: str, reports: Sequence[DeliveryReport]) -> None:
        super().__init__(message)
        self.reports = tuple(reports)


class LoadFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The database refused something. Nothing of this load is in the table.

    The message says whether a repeat can help. It does not quote the database, which may quote a row.

    If the answer to the commit was lost, the whole load may be in the table. A repeat then adds nothing.

    :param kind: the type of the driver's error; empty if there was none.
    :param code: its SQLSTATE or the driver's substitute; empty if there is none.
    :param is_permanent: whether only a person can help: rights or a schema are missing, for example.
    """

    is_permanent = False

    def __init__(self, message: str, kind: str = "", code: str = "", *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.is_permanent = is_permanent
