"""The account: its credits, its sub-accounts, and its restrictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.state import MAIN_ACCOUNT

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox.state import Row, State


class Account:
    """One main account with two sub-accounts."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._db = state.db

    @property
    def balance(self) -> int:
        """Credits of the main account, in tenths."""
        return self._balance(MAIN_ACCOUNT) or 0

    @balance.setter
    def balance(self, tenths: int) -> None:
        self._db.execute("UPDATE accounts SET balance = ? WHERE number = ?", (tenths, MAIN_ACCOUNT))

    @property
    def is_locked(self) -> bool:
        """Whether every text is declined with ``ACCOUNTLOCKED``."""
        return bool(self._state.setting("locked", default=False))

    @is_locked.setter
    def is_locked(self, locked: bool) -> None:
        self._state.set("locked", locked)

    @property
    def is_transactional(self) -> bool:
        """Whether the routing profile ignores the do-not-contact list."""
        return bool(self._state.setting("transactional", default=False))

    @is_transactional.setter
    def is_transactional(self, transactional: bool) -> None:
        self._state.set("transactional", transactional)

    @property
    def trial_number(self) -> str | None:
        """The only number a trial account may text; ``None`` for an ordinary account."""
        number: str | None = self._state.setting("trial_number", None)
        return number

    @trial_number.setter
    def trial_number(self, number: str | None) -> None:
        self._state.set("trial_number", number)

    def accept_error(self, number: str) -> str | None:
        """Return the ``acceptError`` of a number that the account may not text; ``None`` if it may."""
        if self.is_locked:
            return "ACCOUNTLOCKED"
        if self.trial_number not in {None, number}:
            return "TRIALNOT2SELF"
        return None

    def transfer(self, sender: int, receiver: int, tenths: int) -> bool:
        """Move credits; ``False`` if an account is unknown or has too few, or if both are the same."""
        available = self._balance(sender)
        if available is None or self._balance(receiver) is None or sender == receiver or available < tenths:
            return False
        self._add(sender, -tenths)
        self._add(receiver, tenths)
        return True

    def sub_accounts(self) -> list[Row]:
        """Return the row of each sub-account."""
        found = self._db.execute("SELECT * FROM accounts WHERE number <> ? ORDER BY number", (MAIN_ACCOUNT,))
        names = ("accountNumber", "loginName", "firstName", "surname", "creditBalance")
        return [dict(zip(names, row, strict=True)) for row in found]

    def _balance(self, number: int) -> int | None:
        row = self._db.execute("SELECT balance FROM accounts WHERE number = ?", (number,)).fetchone()
        return None if row is None else int(row[0])

    def _add(self, number: int, tenths: int) -> None:
        self._db.execute("UPDATE accounts SET balance = balance + ? WHERE number = ?", (tenths, number))
