"""What counts as one source, wherever failures or requests of strangers are counted (pure)."""

import ipaddress

_IPV6_SITE_BITS = 64


def source_of(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 that one IPv6 line has to itself."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    # A listener for both kinds of address shows IPv4 so: all of it would be one source.
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _IPV6_SITE_BITS), strict=False))
