"""Requests that are sent when they are due, whether or not earlier ones have been answered."""

from __future__ import annotations

import asyncio
import time

from .prober import Answer, answer_of, request


async def paced(
    port: int, path: str, period: float, seconds: float, timeout: float
) -> list[Answer]:
    """One request every `period` seconds, each of which waits for at most `timeout` seconds."""
    begin = time.monotonic()
    tasks = []
    for number in range(round(seconds / period)):
        await asyncio.sleep(max(0.0, begin + number * period - time.monotonic()))
        tasks.append(asyncio.create_task(probe_once(port, path, timeout)))
    return list(await asyncio.gather(*tasks))


async def probe_once(port: int, path: str, timeout: float) -> Answer:
    """One GET on a connection of its own; `status` is None when no answer came in time."""
    sent = time.monotonic()
    try:
        received = await asyncio.wait_for(_exchange(port, path), timeout)
    except (OSError, asyncio.TimeoutError) as error:
        return Answer(sent, time.monotonic(), None, error=type(error).__name__)
    return answer_of(received, sent, time.monotonic())


async def _exchange(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(path))
        return await reader.read()
    finally:
        writer.close()
