"""llama.cpp's C interface, opened once a process, with its log going to Python's.

Everything native is reached through `bindings()`. Measured with llama-cpp-python 0.3.36: the import takes 0.05 s and
18 MB, of which numpy is 11 (needed by every model here), jinja2 and diskcache 4, the library and its declarations 3.
"""

import ctypes
import logging
from collections import deque
from functools import cache
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


@cache
def native_log() -> NativeLog:
    """The one receiver of llama.cpp's output, which lives as long as the process."""
    return NativeLog()


@cache
def bindings() -> Any:
    """The module `llama_cpp.llama_cpp`, initialised and silent (typed Any: its ctypes annotations do not check)."""
    from llama_cpp import llama_cpp as api  # 0.05 s and 18 MB: no screen waits for it

    log = native_log()
    log.callback = api.llama_log_callback(log.receive)
    api.llama_log_set(log.callback, ctypes.c_void_p(0))
    api.llama_backend_init()
    return api


@cache
def library_version() -> str:
    """The version of llama-cpp-python, without importing it."""
    from importlib.metadata import version  # 10 ms: asked for by a probe only

    return version("llama-cpp-python")
