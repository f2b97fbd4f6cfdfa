"""Ends a `llama_decode` in the middle, where the work is done by a CPU."""

import ctypes

from backend.inference.bindings import bindings
from backend.inference.loader import LoadedModel


class StopFlag:
    """What llama.cpp looks at before every operation; set and cleared from any thread.

    The look is C's own `strlen` at one byte, 0 for an empty text: a Python callback would want the interpreter's lock
    a thousand times a token, and wait for whoever draws the screen.
    """

    def __init__(self, model: LoadedModel) -> None:
        """Registers itself with `model`, which keeps it as long as its context lives."""
        api = bindings()
        self._byte = ctypes.create_string_buffer(2)
        address = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value
        callback = api.ggml_abort_callback(address)
        model.callbacks += [callback, self._byte]
        api.llama_set_abort_callback(model.context, callback, ctypes.addressof(self._byte))

    def set(self) -> None:
        """End the decode that is going on, and any that begins before `clear`."""
        self._byte[0] = b"x"

    def clear(self) -> None:
        """Let decodes run."""
        self._byte[0] = b"\0"
