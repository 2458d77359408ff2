"""LitServe with workers whose setup takes its time.

`python -m benchmarks.apps.lit PORT WORKERS SECONDS ...`: the first worker's setup takes the first
number of seconds, and so on; every further worker's the last.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

from . import slots

litserve: Any = import_module("litserve")


class Model(litserve.LitAPI):  # type: ignore[misc]
    """Hands back what it gets."""

    def __init__(self, seconds: list[float]) -> None:
        super().__init__()
        self._seconds = seconds

    def setup(self, device: str) -> None:
        number = slots.take()
        time.sleep(self._seconds[min(number, len(self._seconds) - 1)])
        slots.record_end(number)

    def predict(self, x: Any) -> Any:
        return x


def main() -> None:
    port, workers, *seconds = sys.argv[1:]
    model = Model([float(second) for second in seconds])
    server = litserve.LitServer(model, accelerator="cpu", workers_per_device=int(workers))
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, generate_client_file=False)


if __name__ == "__main__":
    main()
