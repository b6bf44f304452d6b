"""How much memory a process has for itself."""

from pathlib import Path

_STATUS = Path("/proc/self/status")


def own_memory() -> int:
    """Bytes that this process holds and shares with no other; 0 where the system does not tell.

    Objects that it reads from a shared store are not among them.
    """
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    held = next((line for line in lines if line.startswith("RssAnon:")), "RssAnon: 0 kB")
    return int(held.split()[1]) * 1024
