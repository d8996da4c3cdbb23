"""Programs that are started while gRPC is at work."""

import subprocess
import sys

import pytest

STARTS = 60
SCRIPT = f"""
import asyncio

import {{package}}.__main__
import grpc
import uvloop


async def echo(request, context):
    return request


async def main():
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {{{{"m": method}}}}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{{{{port}}}}") as channel:
        call, is_over = channel.unary_unary("/s/m"), asyncio.Event()

        async def calls():
            while not is_over.is_set():
                await call(b"x" * 1000)

        busy = [asyncio.create_task(calls()) for _ in range(8)]
        statuses = [await (await asyncio.create_subprocess_exec("true")).wait() for _ in range({STARTS})]
        is_over.set()
        await asyncio.gather(*busy)
    await server.stop(0)
    print(sum(status == 0 for status in statuses))


uvloop.run(main())
"""


@pytest.mark.parametrize("package", ["edge_node", "cloud_hub"])
def test_a_program_that_is_started_while_calls_are_under_way_runs_and_grpc_does_nothing_in_it(package: str) -> None:
    script = SCRIPT.format(package=package)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == [str(STARTS)]
    assert "fork" not in done.stderr
