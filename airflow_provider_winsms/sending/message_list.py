"""Messages in little memory: a million personal texts take some tens of megabytes.

The columns of a list are stored, and a message is made when it is read. It is cheapest to read messages in
their order.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, overload

from airflow_provider_winsms.messages import PHONE, Message, PackedTexts, Recipient, Recipients

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pendulum import DateTime


class RecipientRange(Sequence[Recipient]):
    """The recipients from one index of a sequence up to another one, without a copy."""

    __slots__ = ("_end", "_recipients", "_start")

    def __init__(self, recipients: Recipients, start: int, end: int) -> None:
        self._recipients = recipients
        self._start = start
        self._end = end

    def __len__(self) -> int:
        return self._end - self._start

    def __iter__(self) -> Iterator[Recipient]:
        return self._recipients.each(range(self._start, self._end))

    @overload
    def __getitem__(self, index: int) -> Recipient: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Recipient, ...]: ...
    def __getitem__(self, index: int | slice) -> Recipient | tuple[Recipient, ...]:
        found = range(self._start, self._end)[index]
        return tuple(self._recipients.each(found)) if isinstance(found, range) else self._recipients[found]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment] # as a list's


class MessageList(Sequence[Message]):
    """Messages, each with its text, time, segments and recipients."""

    __slots__ = ("_ends", "_last", "_recipients", "_segments", "_texts", "_time_indexes", "_times")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._texts = PackedTexts()
        self._recipients = Recipients()
        self._ends = array("Q")
        self._segments = array("H")
        # Few texts have a time that no other text has.
        self._times: dict[DateTime | None, int] = {}
        self._time_indexes = array("I")
        self._last: tuple[object, ...] | None = None
        for message in messages:
            self.append(message)

    @classmethod
    def of(cls, messages: Iterable[Message]) -> MessageList:
        """Return messages as such a list."""
        return messages if isinstance(messages, cls) else cls(messages)

    def append(self, message: Message) -> None:
        """Add a message."""
        for recipient in message.recipients:
            self._recipients.append(recipient)
        self._add(message.text, message.send_at, message.max_segments)

    def append_row(
        self,
        text: str,
        recipient: Recipient,
        reference: str | None,
        send_at: DateTime | None,
        max_segments: int,
    ) -> None:
        """Add a message to one recipient. The last message gets the recipient if it is the same text.

        :param reference: of the recipient.
        """
        if recipient.kind == PHONE:
            self._recipients.append_phone(recipient.number, reference)
        else:
            self._recipients.append(replace(recipient, reference=reference))
        row = text, send_at, max_segments
        if row == self._last:
            self._ends[-1] += 1
        else:
            self._add(*row)
            self._last = row

    def _add(self, text: str, send_at: DateTime | None, max_segments: int) -> None:
        """Add a message to the recipients that no message has yet."""
        self._last = None
        self._texts.append(text)
        self._ends.append(len(self._recipients))
        self._segments.append(max_segments)
        self._time_indexes.append(self._times.setdefault(send_at, len(self._times)))

    @property
    def recipients(self) -> int:
        """The number of recipients of all messages."""
        return len(self._recipients)

    @property
    def has_other_phones_only(self) -> bool:
        """Whether each message has recipients, all of them are phones, and no two are the same."""
        starts = islice(self._ends, len(self._ends) - 1) if self._ends else ()
        return all(map(int.__lt__, (0, *starts), self._ends)) and self._recipients.has_other_phones_only

    def addresses(self, start: int, end: int) -> Iterator[str]:
        """Yield the addresses of recipients, of whatever message, from an index up to another one."""
        return self._recipients.addresses(range(start, end))

    def start(self, index: int) -> int:
        """Return how many recipients the messages before this one have."""
        return self._ends[index - 1] if index else 0

    def between(self, first: int, end: int) -> Iterator[Message]:
        """Yield the messages from an index up to another one, which is left out."""
        start, times = self.start(first), list(self._times)
        for index, text in enumerate(self._texts.between(first, end), start=first):
            ends = self._ends[index]
            recipients = RecipientRange(self._recipients, start, ends)
            yield Message(text, recipients, times[self._time_indexes[index]], self._segments[index])
            start = ends

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[Message]:
        return self.between(0, len(self))

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Message, ...]: ...
    def __getitem__(self, index: int | slice) -> Message | tuple[Message, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        at = range(len(self))[index]
        return next(self.between(at, at + 1))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment] # it grows


@dataclass(frozen=True, slots=True)
class MessagePart:
    """A slice of the recipients of a message."""

    message: Message = field(repr=False)
    start: int
    end: int

    @property
    def recipients(self) -> Sequence[Recipient]:
        """The recipients of the slice."""
        return self.message.recipients[self.start : self.end]

    @property
    def addresses(self) -> Iterator[str]:
        """The addresses of these recipients."""
        return (recipient.address for recipient in self.recipients)


class PartRange(Sequence[MessagePart]):
    """Parts of neighbouring messages, which are made when they are read.

    :param messages: each has recipients.
    :param first: the index of the first message.
    :param start: how many recipients the first message has before its part.
    :param end: the index after the last message.
    :param recipients: the number of recipients of all parts.
    """

    __slots__ = ("_end", "_first", "_messages", "_start", "recipients")

    def __init__(self, messages: MessageList, first: int, start: int, end: int, recipients: int) -> None:
        self._messages = messages
        self._first = first
        self._start = start
        self._end = end
        self.recipients = recipients

    def __len__(self) -> int:
        return self._end - self._first

    def __iter__(self) -> Iterator[MessagePart]:
        start, left = self._start, self.recipients
        for message in self._messages.between(self._first, self._end):
            end = min(len(message.recipients), start + left)
            yield MessagePart(message, start, end)
            start, left = 0, left - (end - start)

    @property
    def addresses(self) -> Iterator[str]:
        """The addresses of the recipients of all parts."""
        start = self._messages.start(self._first) + self._start
        return self._messages.addresses(start, start + self.recipients)

    @overload
    def __getitem__(self, index: int) -> MessagePart: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[MessagePart, ...]: ...
    def __getitem__(self, index: int | slice) -> MessagePart | tuple[MessagePart, ...]:
        return tuple(self)[index]
