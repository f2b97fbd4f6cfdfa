"""Saves one entry after another beside whoever reads them, and prints each uuid once it is acknowledged."""

import time

from backend.errors import StorageError
from backend.services.runtime import Runtime
from backend.settings import load_settings

TEXT = "Dinner with Sarah Miller in Lisbon. Sarah Miller paid."


def main() -> None:
    """Open the home of the environment and save until killed."""
    runtime = Runtime(load_settings(worker="none"))
    runtime.open()
    while True:
        try:
            uuid = runtime.journal.add(TEXT)
        except StorageError:
            continue
        print(f"saved {uuid} .", flush=True)
        time.sleep(0.03)


if __name__ == "__main__":
    main()
