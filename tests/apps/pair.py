"""Two apps of one name in one process, the second one mounted below `/right`."""

from __future__ import annotations

from making import create_app
from werkzeug.middleware.dispatcher import DispatcherMiddleware

left = create_app("twin", "left.")
right = create_app("twin", "right.")
app = DispatcherMiddleware(left.wsgi_app, {"/right": right.wsgi_app})
