"""Which addresses the hub may ask by itself: a list of origins, each name resolved once, no address within.

Redirects are not followed: they would lead past the list.
"""

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from cloud_hub.errors import DestinationRefused

ANSWER_LIMIT_BYTES = 262_144
_PORTS = {"https": 443, "http": 80}
_LOOK_UPS = ThreadPoolExecutor(2, "look-up")
"""A name server that hangs holds up these threads alone, not those that judge passwords."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_LEADING_TO_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, `https://host:443`.

    Raises:
        DestinationRefused: it is no address of the web.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise DestinationRefused("no address of the web") from error
    if not parts.hostname or parts.username is not None or parts.password is not None:
        raise DestinationRefused("no address of the web")
    return f"{parts.scheme}://{parts.hostname.lower()}:{port}"


def check_origin(url: str, allowed: Collection[str]) -> None:
    """Pass where the address is at one of these origins.

    Raises:
        DestinationRefused: it is not.
    """
    if origin_of(url) not in {origin_of(one) for one in allowed}:
        raise DestinationRefused(f"{urlsplit(url).hostname} is not among the allowed destinations")


def is_allowed(text: str, *, private: bool) -> bool:
    """True where a resolved address may be asked: link-local, multicast and the like never, `private` as configured."""
    address = _within(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if address.is_loopback or address.is_private:
        return private
    return address.is_global


def _within(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one leads to (mapped, 6to4, NAT64, compatible), else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _LEADING_TO_IPV4) and not address.is_loopback:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


async def resolve(host: str, port: int, *, private: bool) -> str:
    """Return the one address that is asked for a name.

    Raises:
        DestinationRefused: one of the addresses that the name has may not be asked.
        OSError: the name is not known just now.
    """
    look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)
    addresses = [str(one[4][0]) for one in found]
    if not all(is_allowed(one, private=private) for one in addresses):
        raise DestinationRefused(f"{host} has an address that must not be asked")
    return addresses[0]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be asked, and how it is judged."""

    origins: frozenset[str]
    private: bool
    context: ssl.SSLContext
    answer_limit_bytes: int = ANSWER_LIMIT_BYTES


class AllowedTransport(httpx2.AsyncBaseTransport):
    """Sends requests to allowed destinations alone, at the very address that was judged; answers are bounded."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._inner = httpx2.AsyncHTTPTransport(verify=allowed.context, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            DestinationRefused: another destination than allowed, or an answer that leads elsewhere or is too large.
        """
        url = request.url
        check_origin(str(url), self._allowed.origins)
        try:
            address = await resolve(url.host, url.port or _PORTS[url.scheme], private=self._allowed.private)
        except OSError as error:
            raise httpx2.ConnectError(f"{url.host} is not known", request=request) from error
        request.headers["Accept-Encoding"] = "identity"
        judged = httpx2.Request(
            request.method,
            url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        answer = await self._inner.handle_async_request(judged)
        if answer.is_redirect or answer.headers.get("Content-Encoding", "identity") != "identity":
            await answer.aclose()
            raise DestinationRefused("the answer leads elsewhere, or is packed")
        assert isinstance(answer.stream, httpx2.AsyncByteStream)
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=self._bounded(answer.stream))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    def _bounded(self, stream: httpx2.AsyncByteStream) -> "_Bounded":
        return _Bounded(stream, self._allowed.answer_limit_bytes)


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer, up to a limit."""

    def __init__(self, inner: httpx2.AsyncByteStream, limit_bytes: int) -> None:
        self._inner, self._limit_bytes = inner, limit_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._inner:
            size += len(part)
            if size > self._limit_bytes:
                raise DestinationRefused("the answer is too large")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()
