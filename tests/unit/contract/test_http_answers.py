"""An HTTP answer is read the same however its bytes are cut, and what is none is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_runtimes.http_answers import HEAD_BYTES, HttpAnswer, MalformedAnswer

BODY = b'{"choices": []}'

# what is sent, the body, and whether the connection may be used again
ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + BODY, BODY, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    (b"HTTP/1.1 200 OK\r\ncontent-length:15\r\nConnection: Close\r\n\r\n" + BODY, BODY, False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 15\r\n\r\n" + BODY, BODY, False),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 15\r\n\r\n" + BODY, BODY, True),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: 15\r\n\r\n" + BODY, BODY, True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n" + BODY[:6] + b"\r\n9;x=1\r\n" + BODY[6:]
     + b"\r\n0\r\n\r\n", BODY, True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nF\r\n" + BODY + b"\r\n0\r\nDigest: x\r\n\r\n", BODY, True),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "body", "reusable"), ANSWERS)
@given(cuts=st.sets(st.integers(1, 150)))
def test_an_answer_is_the_same_however_it_is_cut(
    sent: bytes, body: bytes, reusable: bool, cuts: set[int]
) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    answer = HttpAnswer()
    read = b"".join(answer.feed(sent[a:b]) for a, b in pairwise(places))
    assert (read, answer.ended, answer.reusable) == (body, True, reusable)
    assert answer.status in (200, 204)


def test_a_body_without_length_ends_with_the_connection() -> None:
    answer = HttpAnswer()
    read = answer.feed(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{") + answer.feed(b"}")
    assert (read, answer.ended) == (b"{}", False)
    assert answer.feed(b"") == b""
    assert (answer.ended, answer.reusable, answer.headers) == (True, False, [(b"Server", b"x")])


def test_bytes_after_the_answer_spoil_the_connection() -> None:
    answer = HttpAnswer()
    assert answer.feed(ANSWERS[0][0] + b"HTTP/1.1 200 OK") == BODY
    assert (answer.ended, answer.reusable) == (True, False)


def test_the_end_of_the_connection_after_the_answer_is_no_fault() -> None:
    answer = HttpAnswer()
    answer.feed(ANSWERS[0][0])
    assert answer.feed(b"") == b""


@pytest.mark.parametrize("cut", [0, 10, 40, 45])
@pytest.mark.parametrize("sent", [ANSWERS[0][0], ANSWERS[7][0]], ids=["length", "chunks"])
def test_a_connection_that_ends_early_is_told(sent: bytes, cut: int) -> None:
    answer = HttpAnswer()
    if cut:
        answer.feed(sent[:cut])
    with pytest.raises(MalformedAnswer, match="ended before"):
        answer.feed(b"")


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n name: value\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (HEAD_BYTES + 1),
    ],
)
def test_what_is_no_answer_is_refused(sent: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        HttpAnswer().feed(sent)
