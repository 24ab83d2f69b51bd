"""Launch kernels: one by one from Python, or all of a step at once.

``numba.cuda`` takes 43 us of a CPU for a launch, the driver's own part left out (numba-cuda 0.30,
a Xeon with AVX-512), and a training step has 11 launches or more, many of which take a fast GPU
less. What a step launches is the same each time: it is recorded once, as a CUDA graph, and started
again by one call to the driver (2 us).
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import importlib
import os
import weakref
from collections.abc import Callable

from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda.device import SIMULATED, DeviceArray, Kernel, cuda, explain

Grid = int | tuple[int, int]
Launcher = Callable[..., None]
_READY: dict[tuple[Kernel, Grid, int], Launcher] = {}
_RECORDING: contextvars.ContextVar[_Recording | None] = contextvars.ContextVar(
    "recording", default=None
)


def launch(kernel: Kernel, grid: Grid, threads: int, *arrays: DeviceArray) -> None:
    """Start ``kernel`` on ``grid`` blocks of ``threads``; it runs while Python goes on.

    Arguments are arrays on the device, of the same types at each launch of a kernel, so that
    types are looked at only once. While :class:`Repeated` records, nothing runs.
    """
    recording = _RECORDING.get()
    if recording is not None:
        recording.add(kernel, grid, threads, arrays)
    elif SIMULATED:
        kernel[grid, threads](*arrays)
    else:
        _ready(kernel, grid, threads, arrays)(*arrays)


def _ready(kernel: Kernel, grid: Grid, threads: int, arrays: tuple[DeviceArray, ...]) -> Launcher:
    key = kernel, grid, threads
    if key not in _READY:
        _READY[key] = _configured(kernel.specialize(*arrays), grid, threads)
    return _READY[key]


def _configured(kernel: Kernel, *configuration: object) -> Launcher:
    """Return the kernel for this grid, without Numba's warning that a small grid leaves a GPU idle.

    A small image, or a small batch, is no more work than it is.
    """
    config = importlib.import_module("numba.cuda.dispatcher").config
    before = config.CUDA_LOW_OCCUPANCY_WARNINGS
    config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
    try:
        return kernel[configuration]
    finally:
        config.CUDA_LOW_OCCUPANCY_WARNINGS = before


class Repeated:
    """Work whose launches are the same each time, on the same arrays.

    The first time it runs as it is, which compiles what it needs, and is recorded; further times
    start all that was recorded at once.
    """

    def __init__(self) -> None:
        self._recording: _Recording | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Do the work, or do it again: then ``work`` is not called."""
        if self._recording is not None:
            self._recording.run()
            return
        work()
        recording = _Launches() if SIMULATED else _Graph()
        recording.record(work)
        self._recording = recording


class _Recording:
    """All launches of some work, to be started by ``run``."""

    def record(self, work: Callable[[], None]) -> None:
        token = _RECORDING.set(self)
        try:
            work()
        finally:
            _RECORDING.reset(token)

    def add(
        self, kernel: Kernel, grid: Grid, threads: int, arrays: tuple[DeviceArray, ...]
    ) -> None:
        raise NotImplementedError

    def run(self) -> None:
        raise NotImplementedError


class _Launches(_Recording):
    """For the simulator: a list of them."""

    def __init__(self) -> None:
        self._launches: list[Callable[[], None]] = []

    def add(
        self, kernel: Kernel, grid: Grid, threads: int, arrays: tuple[DeviceArray, ...]
    ) -> None:
        self._launches.append(functools.partial(kernel[grid, threads], *arrays))

    def run(self) -> None:
        for start in self._launches:
            start()


class _Graph(_Recording):
    """A CUDA graph, recorded from a stream of its own; it runs on the default stream, as all else.

    While it is recorded ``work`` may neither copy nor allocate. It has run before, so its kernels
    are loaded.
    """

    def __init__(self) -> None:
        handle = ctypes.c_void_p()
        _call("cuStreamCreate", ctypes.byref(handle), _NON_BLOCKING)
        _when_gone(self, "cuStreamDestroy_v2", handle)
        self._handle, self._stream = handle, cuda.external_stream(handle.value)
        # The graph has their addresses: they must live as long.
        self._arrays: list[tuple[DeviceArray, ...]] = []
        self._graph = ctypes.c_void_p()

    def record(self, work: Callable[[], None]) -> None:
        recorded = ctypes.c_void_p()
        with cuda.defer_cleanup():  # what Numba frees in between would be a call out of turn
            _call("cuStreamBeginCapture_v2", self._handle, _RELAXED)
            try:
                super().record(work)
            except BaseException:  # what it was, and not that the recording is spoilt
                _driver().cuStreamEndCapture(self._handle, ctypes.byref(recorded))
                raise
            _call("cuStreamEndCapture", self._handle, ctypes.byref(recorded))
        _call("cuGraphInstantiateWithFlags", ctypes.byref(self._graph), recorded, _NO_FLAGS)
        _when_gone(self, "cuGraphExecDestroy", self._graph)
        _call("cuGraphDestroy", recorded)

    def add(
        self, kernel: Kernel, grid: Grid, threads: int, arrays: tuple[DeviceArray, ...]
    ) -> None:
        self._arrays.append(arrays)
        _configured(kernel.specialize(*arrays), grid, threads, self._stream)(*arrays)

    def run(self) -> None:
        _call("cuGraphLaunch", self._graph, _DEFAULT_STREAM)


_DEFAULT_STREAM, _NO_FLAGS = ctypes.c_void_p(0), ctypes.c_ulonglong(0)
# While it is recorded, the default stream and other threads may do what they like.
_NON_BLOCKING, _RELAXED = ctypes.c_uint(1), ctypes.c_int(2)


@functools.cache
def _driver() -> ctypes.CDLL:
    """Open the driver's library, which ``numba.cuda`` has loaded, but offers no graphs of."""
    return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")


def _call(name: str, *arguments: object) -> None:
    """Call a function of the driver's.

    Raises
    ------
    UserError
        It fails, or the driver (older than CUDA 11.4) has no such function.
    """
    try:
        function = getattr(_driver(), name)
    except AttributeError:
        raise UserError(explain("the driver's version is insufficient")) from None
    status = function(*arguments)
    if status:
        text = ctypes.c_char_p()
        _driver().cuGetErrorName(status, ctypes.byref(text))
        raise UserError(explain(f"{name}: {(text.value or b'error').decode()} ({status})"))


def _when_gone(owner: object, name: str, handle: ctypes.c_void_p) -> None:
    """Call this function of the driver's when ``owner`` is collected.

    Not when Python ends: there may be no driver any more.
    """
    weakref.finalize(owner, _call, name, handle).atexit = False
