"""What stands between the services and the screens."""

from concurrent.futures import Future

from backend.domain import Change, ChangeKind
from backend.errors import StorageUnavailable
from frontend.loading.inbox import ChangeInbox
from frontend.loading.opening import outcome
from frontend.messages import BackendFailed, BackendOpened


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


def test_an_opening_that_failed_says_no_more_than_it_may() -> None:
    """An error of our own in its own words; of any other, whose words could quote the journal, none."""
    opened, refused, broken = Future[None](), Future[None](), Future[None]()
    opened.set_result(None)
    refused.set_exception(StorageUnavailable("another Charlie has it open"))
    broken.set_exception(ValueError("words of the journal"))
    assert isinstance(outcome(opened), BackendOpened)
    problems = [told.problem for told in map(outcome, (refused, broken)) if isinstance(told, BackendFailed)]
    assert problems == ["another Charlie has it open", "Something went wrong inside Charlie; the log says where."]
