"""What an evaluation found, as a document that a program reads, and where it is kept."""

import json
import os
import platform
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from backend.settings import shipped_version
from optimizers.readers import OpenReader
from optimizers.runs import Cost

type Document = dict[str, Any]


def document(opened: OpenReader, what: dict[str, Any], cost: Cost, scores: dict[str, Any], *, seed: int) -> Document:
    """Everything needed to understand and to repeat the figures; `what` tells the set. No words of any entry."""
    provenance = opened.reader.provenance
    file = {"file": opened.path.name, "size_bytes": opened.path.stat().st_size} if opened.path else {}
    return {
        "reader": {
            "name": opened.name,
            "kind": provenance.reader.value,
            "weights": provenance.weights,
            "prompt": provenance.prompt,
            **file,
        },
        "set": what,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "charlie": shipped_version(),
        "seed": seed,
        "machine": _machine(),
        "cost": asdict(cost),
        "scores": scores,
    }


def write(found: Document, folder: Path, *, limit: int | None) -> Path:
    """Replace `<reader>-<set>.json` in `folder`; a part of a set has its size in the name. Raises OSError."""
    part = f"-first-{found['set']['n']}" if limit is not None else ""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{found['reader']['name']}-{found['set']['name']}{part}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
