"""``airflow sms report``. It shows no number and no text."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.utils.cli import suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from airflow_provider_winsms.cli.instances import look_for_connections_in_metadata
from airflow_provider_winsms.cli.terminal import exit_on_error, print_line
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.reports.page import Section, render_page
from airflow_provider_winsms.reports.reader import read_report
from airflow_provider_winsms.reports.window import Window

if TYPE_CHECKING:
    from argparse import Namespace


@suppress_logs_and_warning
@providers_configuration_loaded
def report(args: Namespace) -> None:
    """Write an HTML file with plots of what a ledger recorded."""
    look_for_connections_in_metadata()
    with exit_on_error():
        window = Window(args.days, args.time_zone, datetime.now(UTC))
        hook = sql_hook(args.ledger_conn_id)
        with LedgerDatabase(hook, args.ledger_prefix, reads_only=True) as database:
            found = read_report(database, window, dag_id=args.dag_id, opt_outs=args.opt_outs)
    section = Section(args.ledger_conn_id, args.ledger_prefix, report=found)
    try:
        Path(args.html).write_text(render_page([section], window), "utf-8")
    except OSError as error:
        sys.exit(f"The file {args.html} cannot be written: {error.strerror}.")
    print_line(f"{args.html}: {pluralize(args.days, 'day')}, batches: {found.batch_total:,}.")
