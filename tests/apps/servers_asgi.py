"""The served app behind an adapter, for servers that speak ASGI."""

from __future__ import annotations

from a2wsgi import WSGIMiddleware
from served import app as served

app = WSGIMiddleware(served)
