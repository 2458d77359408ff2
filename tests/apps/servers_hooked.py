"""An app for uWSGI that has a post-fork hook of its own before the extension adds another."""

from __future__ import annotations

import os

import uwsgi
from acting import tell

uwsgi.post_fork_hook = lambda: tell("hooked", os.getpid())

from making import create_app  # noqa: E402

app = create_app()
