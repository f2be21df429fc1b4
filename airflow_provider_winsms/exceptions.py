"""The errors, told apart by what the caller does next.

::

    SmsError
    ├── ConfigurationError      fix the connection: wrong key, locked account, trial account
    ├── InvalidMessage          fix the DAG: text, number, schedule, parameter
    │   ├── InvalidRows         fix the rows: how many are invalid, and what is wrong with the first
    │   └── NothingToSend       no recipient or no message; with on_empty="skip" the task is skipped
    ├── TemplateFailed          a function given for a template field failed; retried, as its cause may pass
    ├── SendRejected            the gateway declined recipients that the task may not do without
    ├── NotCancelled            scheduled texts were not cancelled that the task may not leave
    ├── GatewayUnavailable      wait; safe to retry
    ├── OutcomeUnknown          a person decides; a repeat could text people again
    ├── IdempotencyConflict     fix the DAG: the same key stands for other texts or recipients
    ├── OutOfCredits            top the account up; a later try sends what it could not pay for
    ├── SendStopped             the task is being killed; a later try goes on
    ├── ClocksDiffer            set the clock that is wrong; a later try goes on
    ├── ClaimLost               another process may send this; a later try finds what it did
    ├── LedgerUnavailable       wait; safe to retry. If it is_permanent, mend what it names
    ├── UnsupportedCapability   this gateway cannot do that
    ├── DeliveryFailed          texts were sent, too few arrived; carries the reports
    └── LoadFailed              the database refused; nothing was loaded, safe to retry. If it is_permanent,
                                mend what it names

No message holds a phone number, a text or a key. Every error pickles with its attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_winsms.messages import DeliveryReport


class SmsError(Exception):
    """Anything that went wrong between a DAG and its SMS gateway."""

    is_permanent: bool = True
    """Whether trying the same thing again is pointless or unsafe."""

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.args, self.__dict__)


def rebuilt(kind: type[SmsError], args: tuple[object, ...], attributes: dict[str, object]) -> SmsError:
    """Return an error of a kind from what another one holds, without its constructor."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(SmsError):
    """A connection, an account or a table must be mended first: wrong key, locked account, missing column."""


class InvalidMessage(SmsError):  # noqa: N818 - it names what is wrong, as its siblings do
    """What the DAG gave cannot be used, or the gateway refused it whole: nothing of it was sent or loaded."""


class InvalidRows(InvalidMessage):
    """Several rows of a list cannot be used. Nothing was sent.

    :param problems: what is wrong with the first of them, each with its place.
    :param count: how many there are.
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
    """There is no recipient, or no message."""


class TemplateFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """A function that a DAG gave for a template field raised an error. Nothing was sent."""

    is_permanent = False


class SendRejected(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The gateway declined recipients.

    :param rejected: how many were declined, for each reason (a value of ``RejectReason``).
    """

    def __init__(self, message: str, rejected: Mapping[str, int]) -> None:
        super().__init__(message)
        self.rejected = dict(rejected)


class NotCancelled(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """Scheduled texts were not cancelled: gone out, or unknown to the gateway.

    :param count: how many.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class GatewayUnavailable(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The request was not carried out, or is harmless to repeat: try again later.

    :param retry_after: seconds the gateway asked for, if it did.
    """

    is_permanent = False

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """A repeat could text people again: an answer was lost, or an earlier request or try may be out."""


class IdempotencyConflict(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The ledger has other texts, recipients or another connection under the same key. No more was sent."""


class OutOfCredits(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The account could not pay for all recipients. A later try sends to those, and to nobody else."""

    is_permanent = False


class SendStopped(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The task was killed, and no further request left. What was recorded stands; a later try goes on."""

    is_permanent = False


class ClocksDiffer(SmsError):  # noqa: N818 - it names what is wrong, as its siblings do
    """Clocks that a held send relies on are too far apart. No further request left; a later try goes on."""

    is_permanent = False


class ClaimLost(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """A claim is another process's, such as a retry's, or has waited for too long. A later try goes on."""

    is_permanent = False


class LedgerUnavailable(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The ledger could not be read or written. What is in it stands; a retry goes on from there.

    :param is_permanent: whether only a person can help, as where rights or a schema are missing.
    """

    is_permanent = False

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class UnsupportedCapability(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The gateway has no such operation, or the ledger no place for what it answers."""


class DeliveryFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """Fewer texts arrived than the task needs.

    :param reports: what is known of each text that did not arrive (numbers are left out).
    """

    def __init__(self, message: str, reports: Sequence[DeliveryReport]) -> None:
        super().__init__(message)
        self.reports = tuple(reports)


class LoadFailed(SmsError):  # noqa: N818 - it names what happened, as its siblings do
    """The database refused something. Nothing of this load is in the table.

    The message says whether a repeat can help.

    Only where the answer to the commit was lost, all of it may be there, and a repeat adds nothing.
    Its own words are kept back, as they may quote a row.

    :param kind: the type of the driver's error; empty, if it was none.
    :param code: its SQLSTATE, or what the driver has instead, or an empty string.
    :param is_permanent: whether only a person can help, as where rights or a schema are missing.
    """

    is_permanent = False

    def __init__(self, message: str, kind: str = "", code: str = "", *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.is_permanent = is_permanent
