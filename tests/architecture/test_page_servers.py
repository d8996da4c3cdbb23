"""Both sides' servers, as they are set up: where a message ends, and whose address it came from."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI, Request

from cloud_hub import server as hub_server
from edge_node import page_server

pytestmark = pytest.mark.anyio


def told(heard: list[tuple[str, bytes, str]]) -> FastAPI:
    """An application that notes path, body and address of all that it is asked."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def note(path: str, request: Request) -> str:
        heard.append((path, await request.body(), request.client.host if request.client else ""))
        return path

    return app


def made(side: str, app: FastAPI) -> uvicorn.Server:
    return hub_server.make(app) if side == "hub" else page_server.server(app)


@contextlib.asynccontextmanager
async def serving(server: uvicorn.Server) -> AsyncIterator[int]:
    listener = page_server.open_port("127.0.0.1", 0, "test")
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


async def sent(port: int, text: str) -> bytes:
    """Send bytes as they stand and return all that comes back until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.replace("\n", "\r\n").encode())
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("side", ["hub", "edge"])
async def test_a_message_with_both_lengths_ends_by_its_chunks_and_one_with_two_lengths_is_refused(side: str) -> None:
    heard: list[tuple[str, bytes, str]] = []
    last = "GET /last HTTP/1.1\nHost: h\nConnection: close\n\n"
    async with serving(made(side, told(heard))) as port:
        head = "POST /first HTTP/1.1\nHost: h\n"
        await sent(port, f"{head}Content-Length: 60\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n{last}")
        assert [(path, body) for path, body, _ in heard] == [("first", b"abc"), ("last", b"")]
        heard.clear()
        for doubtful in (
            "Content-Length: 3\nContent-Length: 60\n\nabc",
            "Content-Length: 3\nTransfer-Encoding: xchunked\n\nabc",
            "Content-Length: +3\n\nabc",
            "Content-Length : 3\n\nabc",
        ):
            answer = await sent(port, f"{head}{doubtful}{last}")
            assert answer.split()[1] in (b"400", b"501"), doubtful
        assert heard == []


@pytest.mark.parametrize("side", ["hub", "edge"])
async def test_an_address_that_a_header_claims_does_not_count(side: str) -> None:
    heard: list[tuple[str, bytes, str]] = []
    claims = "X-Forwarded-For: 203.0.113.9\nX-Real-IP: 203.0.113.9\nForwarded: for=203.0.113.9\n"
    async with serving(made(side, told(heard))) as port:
        await sent(port, f"GET /a HTTP/1.1\nHost: h\n{claims}Connection: close\n\n")
    assert heard == [("a", b"", "127.0.0.1")]
