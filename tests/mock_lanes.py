"""Lanes for tests that never start a process."""

from pipeline.crew import Lane, Worker


def lane(name: str, node: str = "a") -> Lane:
    """A lane whose actors are names, and which no stage remembers in."""
    return Lane(Worker(name, "decode", name), {}, Worker(f"e{name}", "encode", f"e{name}"), node)
