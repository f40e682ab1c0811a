"""Runs Dagster's daemon, of which one works at a time: a second one waits until the first has ended.

`python -m orchestrator_cluster.one_daemon run --workspace FILE` takes the arguments of `dagster-daemon`. Two of these
would dequeue the same runs, and try failed ones again twice; Dagster only writes into its log that there are two.

Who works holds a lock of the instance's PostgreSQL. It ends with the connection, so with the process, the machine and
the database; whoever loses it ends at once, before another one has imported Dagster.
"""

import argparse
import importlib.metadata
import logging
import os
import sys
import threading
import time
from typing import Final

import psycopg
from dagster import DagsterInstance
from dagster_postgres.utils import DagsterPostgresException
from psycopg.conninfo import make_conninfo

LOG: Final = logging.getLogger("orchestrator_cluster.one_daemon")

_LOCK: Final = 0x0D_A6_57_E6_DA_E0_00
"""Of the database, which may hold other locks of other numbers."""
_PAUSE_SECONDS: Final = 1.0
_LOST: Final = 75
"""Exit status of a daemon that lost its lock: EX_TEMPFAIL."""

# who holds the lock must notice a broken connection before the server does, which gives the lock away then
_NOTICED: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 6_000,
}
_GIVEN_AWAY: Final = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")


def locked(url: str) -> psycopg.Connection:
    """Wait until this process is the one, and return the connection that says so.

    Args:
        url: Of the instance's database; one that is away is waited for.
    """
    told = ""
    while True:
        try:
            connection = psycopg.connect(make_conninfo(url, **_NOTICED), autocommit=True)
            for setting in _GIVEN_AWAY:
                connection.execute(f"SET {setting}".encode())
            while connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone() != (True,):
                told = _once("another daemon works for this instance: this one waits until it ends", told)
                time.sleep(_PAUSE_SECONDS)
        except psycopg.OperationalError as error:
            told = _once(f"the database does not answer, and is asked again: {error}", told)
            time.sleep(_PAUSE_SECONDS)
        else:
            return connection


def end_without(connection: psycopg.Connection) -> None:
    """Ask again and again whether the lock is held, and end the process when nobody knows."""
    while True:
        try:
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            LOG.error("the daemon ends, as another one may work from now on: its lock is lost: %s", error)
            logging.shutdown()
            os._exit(_LOST)  # what it began is found by the next one; what it would begin must not be
        time.sleep(_PAUSE_SECONDS)


def database_url() -> str:
    """Return where the instance of `DAGSTER_HOME` is kept; a database that is away is waited for.

    Raises:
        SystemExit: It is not kept in PostgreSQL.
    """
    told = ""
    while True:
        try:
            with DagsterInstance.get() as instance:
                url: str | None = getattr(instance.run_storage, "postgres_url", None)
        except DagsterPostgresException as error:
            told = _once(
                f"the database does not answer, and is asked again: {error.__cause__ or error}", told
            )
            time.sleep(_PAUSE_SECONDS)
            continue
        if url is None:
            sys.exit("this instance is in no PostgreSQL, which says which daemon works: run dagster-daemon")
        return url


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_cluster.one_daemon", description=__doc__)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="those of dagster-daemon")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    connection = locked(database_url())
    LOG.info("this is the daemon that works")
    threading.Thread(target=end_without, args=(connection,), name="lock", daemon=True).start()
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="dagster-daemon")
    sys.argv = ["dagster-daemon", *options.arguments]
    status: int | None = command.load()()
    return status or 0


def _once(words: str, told: str) -> str:
    """Log some words unless they were the last ones; return them."""
    if words != told:
        LOG.warning("%s", words)
    return words


if __name__ == "__main__":
    sys.exit(main())
