"""What stands between the services and the screens."""

from backend.domain import Change, ChangeKind
from frontend.loading.inbox import ChangeInbox


def test_an_inbox_rings_once_until_it_is_emptied() -> None:
    """However many changes arrive, the event loop gets one message."""
    rings: list[None] = []
    inbox = ChangeInbox(lambda: rings.append(None))
    for number in range(3):
        inbox.put(Change(ChangeKind.READ, str(number)))
    assert len(rings) == 1
    assert [change.uuid for change in inbox.take()] == ["0", "1", "2"]
    assert inbox.take() == ()
    inbox.put(Change(ChangeKind.READ))
    assert len(rings) == 2
