"""Models: loading, decoding, and what is resident. `DspyLM` and `load_model` are offered here, imported when asked."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backend.inference.dspy_lm import DspyLM
    from backend.inference.loader import load_model

__all__ = ["DspyLM", "load_model"]


def __getattr__(name: str) -> Any:
    """The two public names, each imported at its first use (dspy costs 0.6 s and 49 MB)."""
    if name == "load_model":
        from backend.inference.loader import load_model  # numpy-free, 10 ms; kept beside the other for one shape

        return load_model
    if name == "DspyLM":
        from backend.inference.dspy_lm import DspyLM  # 0.6 s and 49 MB: dspy

        return DspyLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
