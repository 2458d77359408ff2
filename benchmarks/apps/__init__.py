"""The applications that are measured: ours, a bare WSGI callable, a Flask route and the peers."""
