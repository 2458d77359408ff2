"""An app for uWSGI that sets the post-fork hook once it is wired, whatever was there."""

from __future__ import annotations

import os

import uwsgi
from acting import tell
from making import create_app

app = create_app()
uwsgi.post_fork_hook = lambda: tell("hooked", os.getpid())
