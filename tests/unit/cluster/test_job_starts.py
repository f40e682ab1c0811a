"""The start of a run's job, as an API server may answer it."""

from collections.abc import Callable

import pytest
from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.job_starts import AWAY_SECONDS, StartGivenUp, start_job


class Start:
    """A start whose API server answers one thing after the other; the last one for ever."""

    def __init__(self, *answers: Exception | None, wanted: int = 1_000, there: bool = True) -> None:
        self.answers, self.wanted, self.there = list(answers), wanted, there
        self.now, self.tries = 0.0, 0
        self.told = list[str]()

    def make(self) -> None:
        answer = self.answers[min(self.tries, len(self.answers) - 1)]
        self.tries += 1
        if answer is not None:
            raise answer

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self) -> None:
        start_job(
            self.make,
            is_there=lambda: self.there,
            is_wanted=lambda: self.tries < self.wanted,
            tell=self.told.append,
            sleep=self.sleep,
            clock=lambda: self.now,
        )


def refusal(status: int) -> Exception:
    error: Exception = ApiException(status=status, reason="no")
    return error


def no_answer() -> Exception:
    return HTTPError("connection refused")


def test_a_job_that_is_made_is_asked_for_once_and_not_told_of() -> None:
    start = Start(None)
    start.run()
    assert (start.tries, start.told) == (1, [])


@pytest.mark.parametrize("answer", [no_answer, lambda: refusal(503), lambda: refusal(429)])
def test_an_api_server_that_is_away_is_waited_for_and_told_of_once(answer: Callable[[], Exception]) -> None:
    start = Start(*[answer()] * 30, None)
    start.run()
    assert start.tries == 31 and start.now >= 60
    (told,) = start.told
    assert "waits for the API server" in told


def test_a_job_that_a_try_without_answer_made_is_found() -> None:
    start = Start(no_answer(), refusal(409))
    start.run()
    assert start.tries == 2 and "is there already" in start.told[-1]


def test_a_job_that_another_daemon_made_is_found() -> None:
    start = Start(refusal(409))
    start.run()
    assert start.told == ["The run's job is there already: this start changes nothing."]


@pytest.mark.parametrize(("status", "there"), [(409, False), (403, True), (404, True), (422, True)])
def test_what_is_refused_is_not_asked_for_again(status: int, there: bool) -> None:
    start = Start(refusal(status), there=there)
    with pytest.raises(ClusterAway, match=str(status)):
        start.run()
    assert start.tries == 1


def test_a_run_that_is_ended_meanwhile_is_not_started() -> None:
    start = Start(no_answer(), wanted=5)
    with pytest.raises(StartGivenUp):
        start.run()
    assert start.tries == 5


def test_an_api_server_that_stays_away_is_given_up() -> None:
    start = Start(no_answer())
    with pytest.raises(ClusterAway, match="connection refused"):
        start.run()
    assert AWAY_SECONDS <= start.now < AWAY_SECONDS + 10
