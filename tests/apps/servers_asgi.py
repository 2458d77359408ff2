"""The served app behind an adapter, for servers that speak ASGI."""

from __future__ import annotations

from typing import Any

from a2wsgi import WSGIMiddleware
from served import app as flask_app

wsgi: Any = flask_app
app = WSGIMiddleware(wsgi)
