"""The mailbox: in order, tried again, and honest about what it lost."""

from vgsr.mailbox import Mailbox


def test_the_mailbox_tries_again_keeps_order_and_tells_what_it_lost(monkeypatch):
    monkeypatch.setattr(Mailbox, "WAITS", (0.0, 0.0))
    done, failures = [], [ConnectionError("away"), ConnectionError("still away")]

    def flaky():
        if failures:
            raise failures.pop()
        done.append("flaky")

    def broken():
        raise ValueError("never works")

    mailbox = Mailbox()
    mailbox.put(flaky)
    mailbox.put(broken)
    mailbox.put(lambda: done.append("last"))
    assert mailbox.close() == ["never works"]
    assert done == ["flaky", "last"]
