"""The HTTP API: sagas over JSON under ``/v1``, as an ASGI app (``create_app``). It needs the store alone, and no host.

Law: what is acknowledged is durable; every error is a problem (RFC 9457) that says whose fault it is and what to do;
nothing that came in over HTTP is imported, evaluated or looked up as code. Only this room knows FastAPI and uvicorn
(the extra ``ray-sagas[http]``).
"""

from sagas.http.app import create_app

__all__ = ["create_app"]
