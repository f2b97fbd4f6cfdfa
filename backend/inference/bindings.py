"""llama.cpp's C interface, opened once a process, with its log going to Python's.

Everything native is reached through `bindings()`. Measured with llama-cpp-python 0.3.36: the library and its
declarations take 0.01 s and 4 MB; what reads with a model adds numpy (0.05 s, 11 MB).
"""

import ctypes
import importlib
import importlib.util
import logging
import os
import sys
import threading
from collections import deque
from functools import cache
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

# llama.cpp's levels: 1 debug, 2 info, 3 warning, 4 error, 5 continuation of the line before.
_ERROR_LEVEL = 4


class NativeLog:
    """Receives what llama.cpp prints, so that none of it reaches the terminal that the screen draws on."""

    def __init__(self) -> None:
        # The latest error lines; a failed load takes its reason from them.
        self.errors: deque[str] = deque(maxlen=4)
        # The library keeps the bare address of this callback: losing the reference is a segmentation fault.
        self.callback: Any = None

    def receive(self, level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
        """Take one piece of output; called from whatever thread the library is in."""
        if level == _ERROR_LEVEL:
            self.errors.append(text.decode("utf-8", "replace").strip())
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s", text.decode("utf-8", "replace").rstrip())


# Two threads may need a model first at the same moment; the library must be opened, and its log taken, once.
_OPENING = threading.RLock()


def native_log() -> NativeLog:
    """The one receiver of llama.cpp's output, which lives as long as the process."""
    with _OPENING:
        return _native_log()


def bindings() -> Any:
    """The module `llama_cpp.llama_cpp`, initialised and silent (typed Any: its ctypes annotations do not check)."""
    with _OPENING:
        return _opened()


@cache
def _native_log() -> NativeLog:
    return NativeLog()


@cache
def _opened() -> Any:
    # OpenMP's threads spin while they wait for each other. With anything else to do on two cores (the screen, the
    # database) that takes the very core that the other thread needs: 150 words through the tagger in 90 ms with
    # sleeping threads, 500 to 1,500 ms with spinning ones. Read by libgomp when it is loaded, hence here.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # A thousand times a token they wait for microseconds, though, and to sleep and be woken takes longer than that: a
    # spin of less than 0.1 ms first gives an LLM 41 ms a token in place of 76 (eight sequences: 96 in place of 179),
    # the tagger 40 ms in place of 78, and 74 where another process wants a core.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    api = _declarations()
    log = _native_log()
    log.callback = api.llama_log_callback(log.receive)
    api.llama_log_set(log.callback, ctypes.c_void_p(0))
    api.llama_backend_init()
    return api


def _declarations() -> Any:
    """The C declarations alone, without the package's `__init__`.

    That would import `llama_cpp.llama` with numpy, jinja2 and diskcache (4 MB and 0.04 s more than is needed here), and
    open /dev/null twice without ever closing it. A stand-in for the package is in place while its one module is
    imported; `import llama_cpp` works as ever afterwards.
    """
    package = importlib.util.find_spec("llama_cpp") if "llama_cpp" not in sys.modules else None
    if package is None:
        return importlib.import_module("llama_cpp.llama_cpp")
    stand_in = ModuleType("llama_cpp")
    stand_in.__path__ = list(package.submodule_search_locations or ())
    sys.modules["llama_cpp"] = stand_in
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]


@cache
def library_version() -> str:
    """The version of llama-cpp-python, without importing it."""
    from importlib.metadata import version  # 10 ms: asked for by a probe only

    return version("llama-cpp-python")
