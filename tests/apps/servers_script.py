"""A script that serves the app in its own process, as its arguments say; without any, it ends."""

from __future__ import annotations

import sys

from served import app

if __name__ == "__main__" and sys.argv[1:]:
    how, port = sys.argv[1], int(sys.argv[2])
    if how == "waitress":
        import waitress  # type: ignore[import-untyped, unused-ignore]

        waitress.serve(app, host="127.0.0.1", port=port)
    else:
        app.run(port=port, debug=how == "debug")
