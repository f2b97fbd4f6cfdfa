"""A Charlie that saves one entry after another and prints each uuid once it is acknowledged; made to be killed."""

import sys
import time

from backend.errors import StorageError
from backend.services.runtime import Runtime
from backend.settings import load_settings

TEXT = "Dinner with Sarah Miller in Lisbon. Sarah Miller paid."


def main() -> None:
    """Open the home of the environment, work in the mode of the first argument, save until killed."""
    runtime = Runtime(load_settings(worker=sys.argv[1]))
    runtime.open()
    runtime.start_worker()
    while True:
        try:
            uuid = runtime.journal.add(TEXT)
        except StorageError:
            continue
        print(f"saved {uuid} {runtime.gate.holder_pid()}", flush=True)
        time.sleep(0.03)


if __name__ == "__main__":
    main()
