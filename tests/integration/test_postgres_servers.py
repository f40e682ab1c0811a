"""The PostgreSQL of the tests: what was committed is there after a kill, and nothing of it stays behind."""

import psycopg

from tests.integration.postgres_servers import PostgresServer, postgres_server
from tests.integration.processes import entries


def test_what_was_committed_is_there_after_a_kill() -> None:
    with postgres_server() as server:
        url = server.database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept (n INTEGER)")
            connection.execute("INSERT INTO kept VALUES (1)")
        for _ in range(2):
            server.kill()
            server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]
        folder = server.folder
        assert entries(folder)
    assert not entries(folder)


def test_a_session_has_databases_of_its_own(postgres: PostgresServer) -> None:
    urls = {postgres.database(), postgres.database()}
    assert len(urls) == 2
    for url in urls:
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone()
        assert row == (0,)
