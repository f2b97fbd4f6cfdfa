"""The Huey instance: messages that wake the worker, on the embedded server, over connections of their own.

A message is a wake-up and no more: it carries a uuid, never a text, and the ledger is the truth. A lost, doubled
or late one does no harm.
"""

from typing import Any

from huey import PriorityRedisExpireHuey

from backend.database import keys
from backend.database.connection import EmbeddedConnection
from backend.settings import load_settings

# Results are dicts of ids and counts; nobody asks for them after an hour.
_RESULT_TTL_S = 3600

huey: Any = PriorityRedisExpireHuey(
    keys.QUEUE_NAME,
    connection_class=EmbeddedConnection,
    expire_time=_RESULT_TTL_S,
    notify_result=True,
    # A test's or script's CHARLIE_IMMEDIATE holds before any Runtime is bound.
    immediate=load_settings().immediate,
)
