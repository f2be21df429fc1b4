"""Write the page about the ledger's tables from the tables themselves: ``python -m scripts.docs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_winsms.ledger.schema import TABLES, VIEWS, MessageState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.ledger.schema import Table, View

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ledger.md"

_BEGINNING = """\
# The ledger's tables

With `ledger_conn_id="warehouse"` a send remembers in tables of that database what it sends: PostgreSQL,
MySQL, MariaDB or SQLite, through the `DbApiHook` of the connection. They are the memory that retries rely
on ([What is promised, and what is not](promises.md)), and the history to query. All of it is created when
it is first needed. The names begin with `ledger_prefix`, `sms_` unless another is given. A column, once
published, is neither renamed nor dropped; new ones may be added.

```python
SmsSendOperator(task_id="send", text="Your parcel is here.", to=customers, ledger_conn_id="warehouse")
```

Numbers are kept as they are, so that they can be joined with the replies; `ledger_privacy="keyed_hash"`
keeps their HMAC-SHA-256 under the `hash_key` of the SMS connection instead, the same for the same number in
every table. Of a text a keyed hash is kept; `ledger_text="keep"` keeps the text. The connection's user
needs SELECT, INSERT, UPDATE and DELETE on the tables, and, the first time, the right to create tables and
views.

An instant is a `TIMESTAMP WITH TIME ZONE` in PostgreSQL, a `DATETIME(6)` in UTC in MySQL and MariaDB, and
ISO 8601 text in UTC in SQLite. An amount has two decimal places; in SQLite, which has no decimals, round a
sum of them.
"""

_QUERIES = """\
## Delivery states

A send knows that a text was accepted. What became of it the gateway knows later, and it forgets after 90
days (WinSMS). Until it is asked, the views on delivery count the text as not delivered. Two things ask, and
write what they see into these tables: `SmsDeliverySensor`, given the same `ledger_conn_id`, for the texts
that it waits for; and `SmsRefreshStatusOperator`, for all. Give that one a DAG of its own, each night:

```python
SmsRefreshStatusOperator(task_id="refresh_status", ledger_conn_id="warehouse")
```

It asks about every text that was sent through its `sms_conn_id`, was due in the last 89 days, and whose
state is `accepted`, `scheduled`, `queued`, `sent` or `cancelling`; about one that is `not_found`, for two
days. 1,000 texts make a request, of which as many are on their way at a time as the connection's
`max_concurrent_requests` says. A retry goes on behind the last answer that was written (Airflow 3.3 and
later; before, it begins anew with what is still open).

Texts that wait for their `send_at` are left alone. So are older ones, in whatever state they are: that the
gateway has forgotten them says nothing about them. A final state (`delivered`, `failed`, `not_sent`,
`cancelled`) stays.

## Questions

What did each DAG send yesterday, and what did it cost?

```sql
SELECT dag_id, SUM(accepted) AS accepted, SUM(declined) AS declined, ROUND(SUM(cost - refunded), 2) AS cost
FROM sms_batches WHERE opened_at >= '{yesterday}' AND opened_at < '{today}' GROUP BY dag_id;
```

Who does a send not know the outcome of?

```sql
SELECT b.dag_id, b.run_id, m.number, m.submitted_at FROM sms_messages m
INNER JOIN sms_batches b ON b.batch_id = m.batch_id WHERE m.state = 'unknown' AND b.superseded_at IS NULL;
```

Whom did it decline, and why?

```sql
SELECT m.reason, COUNT(*) AS recipients FROM sms_messages m WHERE m.state = 'declined' GROUP BY m.reason;
```
"""


def page() -> str:
    """Return the page."""
    parts = [_BEGINNING, *map(_table, TABLES), _states(), *map(_view, VIEWS), _QUERIES]
    return "\n".join(parts)


def _table(table: Table) -> str:
    rows = (
        (f"`{c.name}`", c.kind, c.meaning + ("" if c.is_required else " (may be null)"))
        for c in table.columns
    )
    keys = f"Primary key: {_names(table.key)}."
    unique = f" Unique: {_names(table.unique)}." if table.unique else ""
    indexes = f" Indexes: {'; '.join(map(_names, table.indexes))}." if table.indexes else ""
    head = f"## `{table.name}`\n\n{table.meaning} {keys}{unique}{indexes}\n"
    return f"{head}\n{_grid(('column', 'kind', 'meaning'), rows)}"


def _states() -> str:
    rows = ((f"`{state}`", _words(state)) for state in MessageState)
    return f"## States of a message\n\n{_grid(('state', 'meaning'), rows)}"


def _view(view: View) -> str:
    rows = [("`day`", "the day, in UTC, that the text was submitted"), ("`dag_id`", "the DAG that sent it")]
    rows += [(f"`{name}`", meaning) for name, meaning in view.columns.items()]
    return f"## `{view.name}`, a view\n\n{view.meaning}\n\n{_grid(('column', 'meaning'), rows)}"


def _grid(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)


def _words(state: MessageState) -> str:
    """Return what the source says of a state: the text below it."""
    source = Path(__file__).resolve().parent.parent / "airflow_provider_winsms" / "ledger" / "schema.py"
    return source.read_text().split(f'{state.name} = "{state}"\n    """')[1].split('"""')[0]


if __name__ == "__main__":
    PAGE.write_text(page())
