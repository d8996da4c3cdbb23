"""The little of CUDA's driver that TensorRT's adapter needs: which card there is, memory on it, a stream.

By ctypes over the driver's own library, which is there wherever there is a card: no package of its own to install.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from telemed.bundle_golden import Array

from edge_node.inference.engine import EngineBroke

LIBRARY = "libcuda.so.1"
NAME_BYTES = 256
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
"""Attributes of a device."""


@dataclass(frozen=True, slots=True)
class Card:
    """What an engine depends on."""

    name: str
    capability: str
    driver: int

    def __str__(self) -> str:
        return f"{self.name} sm{self.capability} driver {self.driver}"


class Cuda:
    """The first card of this machine; used by one thread."""

    def __init__(self) -> None:
        """Take hold of it.

        Raises:
            EngineBroke: there is none, or its driver does not answer.
        """
        try:
            self._driver = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise EngineBroke("there is no CUDA driver") from error
        self._call("cuInit", 0)
        self._device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        # The context that TensorRT uses by itself.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)

    def card(self) -> Card:
        """Return what it is.

        Raises:
            EngineBroke: the driver does not say.
        """
        name, driver = ctypes.create_string_buffer(NAME_BYTES), ctypes.c_int()
        self._call("cuDeviceGetName", name, NAME_BYTES, self._device)
        self._call("cuDriverGetVersion", ctypes.byref(driver))
        capability = f"{self._attribute(_CAPABILITY_MAJOR)}{self._attribute(_CAPABILITY_MINOR)}"
        return Card(name.value.decode(errors="replace"), capability, driver.value)

    def allocate(self, length_bytes: int) -> int:
        """Return the address of new memory on the card.

        Raises:
            EngineBroke: there is not enough.
        """
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(length_bytes))
        return address.value

    def free(self, address: int) -> None:
        """Give memory on the card back.

        Raises:
            EngineBroke: it was none.
        """
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, address: int, array: Array) -> None:
        """Copy an array to the card; done when this returns.

        Raises:
            EngineBroke: the driver refuses.
        """
        whole = np.ascontiguousarray(array)
        size = ctypes.c_size_t(whole.nbytes)
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), whole.ctypes.data_as(ctypes.c_void_p), size)

    def download(self, array: Array, address: int) -> None:
        """Copy an array from the card; done when this returns.

        Raises:
            EngineBroke: the driver refuses.
        """
        size = ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyDtoH_v2", array.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint64(address), size)

    @contextmanager
    def stream(self) -> Iterator[int]:
        """Give a stream, and return once all that was put into it is done.

        Raises:
            EngineBroke: something of it failed.
        """
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), 0)
        try:
            yield stream.value or 0
            self._call("cuStreamSynchronize", stream)
        finally:
            self._driver.cuStreamDestroy_v2(stream)

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            raise EngineBroke(f"CUDA driver: {name} gave {status}")
