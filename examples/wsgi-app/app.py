"""A plain WSGI application: no framework, nothing but the interface. Serve it with any WSGI server, such as gunicorn."""

import json
import os

VERSION = os.environ.get("APP_VERSION", "v1")


def application(environ, start_response):
    """Answers `/` with who answered, `/healthz` with ok, `/echo` with what was sent."""
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/":
        status, kind = "200 OK", "application/json"
        body = json.dumps({"app": "wsgi", "version": VERSION, "process": os.getpid()}).encode() + b"\n"
    elif path == "/healthz":
        status, kind, body = "200 OK", "text/plain", b"ok\n"
    elif path == "/echo" and method == "POST":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        status, kind, body = "200 OK", "application/octet-stream", environ["wsgi.input"].read(length)
    else:
        status, kind, body = "404 Not Found", "text/plain", b"there is nothing here\n"
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
