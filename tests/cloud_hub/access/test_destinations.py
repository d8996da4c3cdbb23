"""Where the hub may send a question: to configured origins, at addresses that are not within."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from cloud_hub.access import destinations
from cloud_hub.access.destinations import Allowed, AllowedTransport, check_origin, is_allowed, origin_of, resolve
from cloud_hub.errors import DestinationRefused

pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "224.0.0.1",
        "0.0.0.0",
        "::",
    ],
)
def test_link_local_and_what_is_nobodys_is_never_asked(address: str) -> None:
    assert not is_allowed(address, private=True)
    assert not is_allowed(address, private=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::",
        "64:ff9b::a00:1",
    ],
)
def test_what_is_within_is_asked_only_where_that_is_configured(address: str) -> None:
    assert not is_allowed(address, private=False)
    assert is_allowed(address, private=True)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_what_is_public_is_asked(address: str) -> None:
    assert is_allowed(address, private=False)


@pytest.mark.parametrize(
    "bad", ["", "ftp://x", "https://", "https://u:p@host", "https://host:x", "//host", "javascript:x"]
)
def test_what_is_no_address_of_the_web_is_refused(bad: str) -> None:
    with pytest.raises(DestinationRefused):
        origin_of(bad)


def test_an_origin_is_scheme_host_and_port_together() -> None:
    check_origin("https://IDP.example/x?y", ["https://idp.example:443"])
    for other in (
        "http://idp.example",
        "https://idp.example:444",
        "https://idp.example.evil",
        "https://sub.idp.example",
    ):
        with pytest.raises(DestinationRefused):
            check_origin(other, ["https://idp.example"])


async def test_a_name_that_also_has_an_address_within_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("1.1.1.1", 443)), (0, 0, 0, "", ("169.254.169.254", 443))]

    monkeypatch.setattr("socket.getaddrinfo", both)
    with pytest.raises(DestinationRefused):
        await resolve("idp.example", 443, private=True)


@contextlib.asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
def client() -> Callable[[str], httpx2.AsyncClient]:
    def make(origin: str, *, private: bool = True) -> httpx2.AsyncClient:
        allowed = Allowed(frozenset({origin}), private, ssl.create_default_context())
        return httpx2.AsyncClient(transport=AllowedTransport(allowed))

    return make


async def test_an_allowed_destination_answers(client: Callable[..., httpx2.AsyncClient]) -> None:
    async with answering(OK) as origin, client(origin) as asker:
        assert (await asker.get(origin)).text == "ok"
        with pytest.raises(DestinationRefused):
            await asker.get("http://127.0.0.1:1")
    async with answering(OK) as origin, client(origin, private=False) as asker:
        with pytest.raises(DestinationRefused):
            await asker.get(origin)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Elsewhere\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (destinations.ANSWER_LIMIT_BYTES + 1),
    ],
)
async def test_an_answer_that_leads_elsewhere_is_packed_or_too_large_is_refused(
    client: Callable[..., httpx2.AsyncClient], answer: bytes
) -> None:
    async with answering(answer) as origin, client(origin) as asker:
        for follows in (False, True):
            with pytest.raises(DestinationRefused):
                await asker.get(origin, follow_redirects=follows)


async def test_a_name_that_nobody_knows_is_a_failure_to_connect(client: Callable[..., httpx2.AsyncClient]) -> None:
    async with client("http://no-such-name.invalid") as asker:
        with pytest.raises(httpx2.ConnectError):
            await asker.get("http://no-such-name.invalid")


async def test_names_are_looked_up_where_no_busy_thread_holds_them_up() -> None:
    # Passwords are judged in the loop's own threads: neither waits for the other.
    loop, done = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    busy = loop.run_in_executor(None, done.wait)
    try:
        async with asyncio.timeout(5):
            assert await resolve("127.0.0.1", 80, private=True) == "127.0.0.1"
    finally:
        done.set()
        await busy
