"""An attribute is found once for each object, and one that does not come holds up no other."""

import threading

from pipeline.io.kept import Kept


class Shelf:
    """Finds its book, and counts how often; some have to wait for theirs."""

    def __init__(self, name: str, comes: threading.Event | None = None) -> None:
        self.name = name
        self.looks = 0
        self._comes = comes
        self.looking = threading.Event()

    @Kept
    def book(self) -> str:
        """Its book."""
        self.looks += 1
        self.looking.set()
        if self._comes is not None:
            self._comes.wait()
        return f"book of {self.name}"


def test_it_is_found_once_for_each_object_and_kept_in_it() -> None:
    first, second = Shelf("a"), Shelf("b")

    assert (first.book, first.book, second.book) == ("book of a", "book of a", "book of b")
    assert (first.looks, second.looks) == (1, 1)
    assert vars(first)["book"] == "book of a"
    assert Shelf.book.__doc__ == "Its book."


def test_one_that_does_not_come_holds_up_no_other() -> None:
    comes = threading.Event()
    waiting, found = Shelf("a", comes), []
    threads = [threading.Thread(target=lambda: waiting.book, daemon=True)]
    threads[0].start()
    assert waiting.looking.wait(10.0)

    threads.append(threading.Thread(target=lambda: found.append(Shelf("b").book), daemon=True))
    threads[1].start()
    threads[1].join(10.0)

    assert found == ["book of b"]
    comes.set()
    threads[0].join(10.0)
    assert waiting.book == "book of a"
