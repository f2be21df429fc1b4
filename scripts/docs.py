"""Write the pages about tables from the tables themselves: ``python -m scripts.docs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_winsms.ledger.schema import TABLES, VIEWS, MessageState
from airflow_provider_winsms.transfers.datasets import DATASETS, RAW
from airflow_provider_winsms.transfers.sql_table import WITHOUT_TRANSACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.ledger.schema import Table, View
    from airflow_provider_winsms.transfers.datasets import Dataset

FOLDER = Path(__file__).resolve().parent.parent / "docs"

_BEGINNING = """\
# The ledger's tables

With `ledger_conn_id="warehouse"` a send remembers in tables of that database what it sends: PostgreSQL,
MySQL, MariaDB or SQLite, through the `DbApiHook` of the connection. They are the memory that retries rely
on ([What is promised, and what is not](promises.md)), and the history to query. All of it is created when
it is first needed. The names begin with `ledger_prefix`, `sms_` unless another is given. A column, once
published, is neither renamed nor dropped; new ones may be added. An SQLite file is a ledger for one machine
only.

```python
SmsSendOperator(task_id="send", text="Your parcel is here.", to=customers, ledger_conn_id="warehouse")
```

Numbers are kept as they are, so that they can be joined with the replies; `ledger_privacy="keyed_hash"`
keeps the HMAC-SHA-256 of the digits under the `hash_secret` of the SMS connection instead, the same for the same number in
every table. Of a text a keyed hash is kept; `ledger_text="keep"` keeps the text. The connection's user
needs SELECT, INSERT, UPDATE and DELETE on the tables, and, the first time, the right to create tables and
views.

Each connection that the provider opens, for a ledger, a load or a view, sets what its reading and writing
depend on, so that defaults of a role, a database or a connection do not matter. PostgreSQL: `client_encoding`
UTF8, `datestyle` ISO, `timezone` UTC, `standard_conforming_strings` on. MySQL and MariaDB: character set
`utf8mb4` (also where the extra says `"charset": "utf8"`), `time_zone` UTC, and an `sql_mode` of its own that is
strict and has nothing else that changes values, so that an empty text stays empty.

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
days after it was due, and after it was first not found. 1,000 texts make a request, of which as many are on their way at a time as the connection's
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


_WAREHOUSE = """\
# Replies, opt-outs and deliveries in your warehouse

`SmsToSqlOperator` brings what the gateway lists, and what the ledger knows, into tables of a database that
has a `DbApiHook`. Each row is there once: none is lost, none doubled, whatever dies when.

```python
SmsToSqlOperator(task_id="load_replies", dataset="incoming", sql_conn_id="warehouse", table="sms_incoming")
```

The table is the only memory. There is no bookmark that could disagree with it: a load looks at what the
table has, reads what it lacks, and counts. So a load may be repeated, cleared, killed, run twice at a time,
or meet rows that something else wrote, and the table is right at the end of the next one that succeeds.

## How it reads

| | |
| --- | --- |
| the first load | the whole list, some pages ahead of the database |
| `mode="incremental"` | one row from the beginning of the list, which tells the total; then the end of the list: the rows that are missing by count and at least a tenth of a page more. Ten new rows among 500,000 take two requests |
| `mode="backfill"` | the whole list; rows that the table lacks come in |
| `mode="full_refresh"` | the whole list; rows that the table has otherwise are put right too, as after a change of `privacy` |

This is about `incoming` and `short_code`. `opt_outs` and `scheduled` are read whole in every mode; of
`deliveries`, `"incremental"` reads what is new in the ledger, or may have changed, and the others all. No mode
takes a row away that the gateway has forgotten.

What was read must be as many rows as the gateway states; after an incremental load, so must the rows of the
table between the lowest and the highest id that are listed. If they are not, the whole list is read once
more, which the log says, and rows that came late, moved between two pages, or were spoilt on their way are
found. Rows that the gateway does not list at all, such as some that were written by hand, make every
incremental load read the whole list, as they may hide that others are missing; if as many are missing, only
a backfill finds it. Keep such rows in a table of their own.

A row that cannot be read, such as a reply without an id, is left out, and all others are loaded. `unreadable`
of the load's result counts such rows, and the log says so; neither holds anything of them. They hide no row
that is missing: a later load finds out, by some requests of a row each, between which ids the table has too
few, looks at the page there, and reads the whole list only if rows are missing that it does not find so. An
opt-out without a readable id is loaded. While a row of `opt_outs` or
`scheduled` cannot be read, none gets a `removed_at`, as it may be that row. Only a page of more than ten rows,
none of which can be read, counts as a gateway that fails.

A list that does not end fails the load, and nothing is loaded: one that states more than a billion rows, or
grows by more than a million beyond double its size while it is read, or repeats more than 100 pages.

All of a load is committed at once. A load of fewer than 10,000 rows holds the table's lock for a moment, at
its end, unless it reads the list twice; a longer one holds it from its first 10,000 rows on, and others wait.
Opt-outs hold it for a moment however many they are, but in SQLite and DuckDB from the beginning: keep a ledger
that sends use meanwhile in another file.

The memory of a load grows by a byte or some for each row of the list; in DuckDB by what is loaded, as it
works within the process; and in SQLite by the deliveries that are merged, as their ledger may be in the same
file.

While the gateway answers 429 or 5xx, fewer requests are on their way, and more again afterwards; `prefetch`
(or `max_concurrent_requests` of the connection, 4) is the most. A long load says every five seconds how far
it is: pages, rows per second, time left.

## Numbers and texts

Numbers are stored as international digits (`27825550101`) however the gateway spells them, so that they can be
joined with what was sent; what cannot be read as a number stays as it came. `raw` has the row as it came. An
opt-out that an older version stored in another spelling is marked as removed when it is loaded as
`27825550101`.

| | |
| --- | --- |
| `privacy="none"` | numbers as they are |
| `privacy="keyed_hash"` | HMAC-SHA-256 of the number's digits under the `hash_secret` of the SMS connection: 64 hexadecimal digits, the same for the same number in every table, the ledger's with `ledger_privacy="keyed_hash"` among them, so that they can be joined. `number_key_id` says which key it was |
| `text="keep"` | texts as they are |
| `text="redact_numbers"` | `[number]` for seven or more digits with no letter, and at most four signs or spaces, between one and the next. Dates and times go too |
| `text="drop"` | no texts |

A key that is destroyed makes its hashes mean nothing: nobody can tell any more whose they were. With a new
key the same number gets another hash: rows under the old one stay as they are, and can be joined with each
other only. Opt-outs under the old key are not marked as removed, as nobody can tell whether they are. The
same holds where numbers were stored as they are before (the other way round a load refuses): `full_refresh` puts hashes for them, but not in
`opt_outs`, whose rows are told apart by their numbers. Begin that table anew. What `text` asks for holds
for the rows that a load writes: `full_refresh` brings older ones into line, as far as they are still listed.

### Joining hashed numbers with your own

The hash is the plain HMAC-SHA-256 (RFC 2104) of the digits of the number, with its country code
(`27825550101`). The key is `hash_secret`, in UTF-8. So you can make the same hash of a number in a table of
your own. `number_key_id` is the first 8 digits of the hash of the text `key id`.

In PostgreSQL, with its extension `pgcrypto`:

```pgsql
SELECT c.name, d.state
FROM customers c
INNER JOIN sms_deliveries d
    ON d.number = encode(hmac(c.phone, current_setting('sms.hash_secret'), 'sha256'), 'hex')
    AND d.number_key_id = left(encode(hmac('key id', current_setting('sms.hash_secret'), 'sha256'), 'hex'), 8);
```

`SET sms.hash_secret = '...'` gives it the secret for the length of a connection. A server that logs statements
logs that one too; let Python make the hashes there. In Python:

```python
import hmac


def number_hash(number: str, hash_secret: str) -> str:
    return hmac.digest(hash_secret.encode(), number.encode(), "sha256").hex()
```

In SQLite, after `connection.create_function("number_hash", 2, number_hash)`:

```sqlite
SELECT c.name, d.state
FROM customers c
INNER JOIN sms_deliveries d ON d.number = number_hash(c.phone, :hash_secret)
    AND d.number_key_id = substr(number_hash('key id', :hash_secret), 1, 8);
```

## Columns

`kind` is what a column holds; the database has its own type for it. An instant is a
`TIMESTAMP WITH TIME ZONE` in UTC; in MySQL and MariaDB a `DATETIME(6)` in UTC, in SQLite ISO 8601 text in
UTC. What the gateway wrote stands beside each instant, in its own zone (the `time_zone` of the connection).
An amount has two decimal places. A table that an older version made, or that somebody wrote, gains the
columns it lacks; it must have those of the primary key, and none by which another dataset's tables are told. Columns of your own stay and keep their values.
`from` is the field of WinSMS's answer, or the ledger's column.

A row that changes is updated in place. So your own tables may refer to loaded rows by a foreign key, with or
without `ON DELETE CASCADE`. A load deletes a row in one case only: a row of `deliveries` whose request was
given back, unsubmitted. A row that left a list stays and is marked in `removed_at`. DuckDB itself may carry
out an update as a delete and an insert.

The text of `raw` is JSON that every database reads, `raw::jsonb` of PostgreSQL among them. NUL and the half
of an emoji become U+FFFD there, as in the other columns, and `NaN` and `Infinity` become texts.
"""

_MORE = {
    "opt_outs": """
The gateway lists all opt-outs in one answer, which is read as it arrives. Who may not be texted now are those whose
`removed_at` is null. `<table>_history` has the same columns and one row for each spell on the list: a number
that opts out, is removed, and opts out again has two. Its primary key is `number`, `first_seen_at`. An entry
whose time or id changes between two loads is taken for another spell, with a time off the list in between.
""",
    "scheduled": """
`removed_at` says when a load missed a text: it went out, or was cancelled. If the list moves while it is
read, it is read again; if it moves again, that load marks nothing as removed.
""",
    "deliveries": """
Read from a ledger (`ledger_conn_id`), which sends keep with the same parameter: [The ledger's
tables](ledger.md). Before, the gateway is asked how far open texts have come, unless `refresh=False`. What
is read is what was submitted or answered since the last load, and what may have changed since. A row whose
request was given back, unsubmitted, is taken out again. One table is for one ledger. Texts are not loaded. A number that the ledger has
hashed stays hashed.

```python
SmsToSqlOperator(
    task_id="load_deliveries",
    dataset="deliveries",
    ledger_conn_id="warehouse",
    sql_conn_id="warehouse",
    table="sms_deliveries",
)
```

A load makes the index on `reference` together with the table, or together with the column in a table that lacks it.
The name of the index is `<table>_reference`; a long name is cut, and has eight hexadecimal digits in it. In a table
that has the column, a load makes no index: one that you drop stays dropped, and
`CREATE INDEX sms_deliveries_reference ON sms_deliveries (reference)` makes it there. Where the database refuses the
index, or has something else of that name, the table is made without it. DuckDB gets no index: it scans a column
fast, and with an index DuckDB 1.4 refuses to update a row twice in one transaction.
""",
}

_DATABASES = """\
## Databases

| | how rows get in | tried |
| --- | --- | --- |
| PostgreSQL | `COPY`, straight into the table where all rows are new, else into a temporary table and one merge | yes |
| MariaDB, MySQL | inserts of many rows, likewise | MariaDB |
| SQLite | `executemany`, likewise | yes |
| DuckDB | one array for each column, likewise. Only one process can have the file open | yes |
| any other `DbApiHook` | `executemany` into `<table>_staging`, then update and insert, in one transaction. Needs `CREATE TABLE IF NOT EXISTS` and `ALTER TABLE ... ADD COLUMN` | by the same SQL in SQLite |

Refused are connections through which there are no transactions, as a load that fails would leave half of its
rows: REFUSED.

MariaDB and MySQL take no statement above `max_allowed_packet`: rows are cut by their bytes as well, and one row
that is longer is refused with the name of the variable. The SQL mode of the server is not used: a load sets its
own, strict one, by which an empty text stays empty. A database whose encoding lacks a character of a row, as
LATIN1 lacks emojis, refuses the load: nothing is replaced in silence. The error names the encoding. Use a
database with `ENCODING 'UTF8'`, or `text="drop"`. An error says that a repeat is safe only where a repeat can
help. Where only a person can (rights, a missing schema, a file that may only be read, an encoding, a row that is too
long), the task fails at once, whatever its `retries` say.

A load needs SELECT, INSERT, UPDATE and DELETE on the table, the right to make temporary tables, and, if the
table is missing or lacks columns, to create and alter it. A pooler between must keep a session together.
Airflow's `insert_rows` is not used: it commits in pieces, and writes refused rows into the log.

PostgreSQL itself writes a row that it refuses, with number and text, into the log of its server. For a superuser
the provider turns that off for its connections. An ordinary user may not: there, let a superuser do it once with
`ALTER ROLE airflow SET log_error_verbosity = terse`, where `airflow` is the login of the connection. The ledger
needs the same. A server with `log_statement = 'all'` may also log the values of the ledger's statements: use
`ledger_privacy="keyed_hash"` and leave `ledger_text` as it is.

## Assets and lineage

Each asset among the task's `outlets` gets what the task returns into the `extra` of its event, with
`loaded_at` and `load_run_id`, which the rows have too: the next DAG finds exactly those that changed with
`WHERE loaded_at = ...` (in MySQL and MariaDB cut off the offset, `+00:00`). With the extra `lineage` (`pip install '.[lineage]'` in a clone), the events that
Airflow emits for OpenLineage name the gateway's list (`winsms://<host>`, `<sms_conn_id>.<dataset>`) as the
input, and the ledger's tables where it is read, and the table as the output, with its columns and how many rows came. No
number, text or key is in either.
"""


def ledger() -> str:
    """Return the page about the ledger."""
    parts = [_BEGINNING, *map(_table, TABLES), _states(), *map(_view, VIEWS), _QUERIES]
    return "\n".join(parts)


def warehouse() -> str:
    """Return the page about what is loaded."""
    datasets = map(_dataset, DATASETS.values())
    refused = ", ".join(f"`{kind}`" for kind in sorted(WITHOUT_TRANSACTIONS))
    return "\n".join([_WAREHOUSE, *datasets, _DATABASES.replace("REFUSED", refused)])


PAGES = {"ledger.md": ledger, "warehouse.md": warehouse}
"""The pages that are written here, by their names."""


def _dataset(dataset: Dataset) -> str:
    rows = (
        (f"`{c.name}`", c.kind, "" if c.is_required else "yes", c.meaning, f"`{c.wire}`" if c.wire else "")
        for c in (*dataset.columns, *(() if dataset.name == "deliveries" else (RAW,)))
    )
    key = f"Primary key: {_names(dataset.key)}."
    if indexed := [column.name for column in dataset.columns if column.is_indexed]:
        key += f" Index: {_names(indexed)}."
    grid = _grid(("column", "kind", "null", "meaning", "from"), rows)
    return f"## `{dataset.name}`\n\n{dataset.meaning} {key}\n\n{grid}{_MORE.get(dataset.name, '')}"


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
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
