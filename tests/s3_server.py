"""A real S3 server on loopback, moto's, which can be told to fail: requests and answers go over the network."""

import contextlib
import threading
import time
import uuid

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

KEY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Server:
    """The server, in a thread of this process.

    Attributes:
      faults: called with method and path of each request; returns what goes wrong with it: '' nothing, 'refuse' answers
        503 and does nothing, 'break' answers 500 and does nothing, 'lose' does it and answers 500, 'slow' takes a second,
        'stop' does not answer before `goes_on` is set.
      requests: (method, path) of all so far.
    """

    def __init__(self):
        self._application = DomainDispatcherApplication(create_backend_app)
        self.faults, self.requests = (lambda method, path: ""), []
        self.goes_on = threading.Event()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.environment = {**KEY, "AWS_ENDPOINT_URL": self.url}

    def _answer(self, environment, start_response):
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        self.requests.append((method, path))
        fault = self.faults(method, path)
        if fault == "slow":
            time.sleep(1)
        if fault == "stop":
            self.goes_on.wait()
        if fault == "lose":
            list(self._application(environment, lambda *status: None))
        elif fault in ("refuse", "break"):
            with contextlib.suppress(KeyError, ValueError):  # or the connection breaks, instead of the answer
                environment["wsgi.input"].read(int(environment["CONTENT_LENGTH"]))
        if fault in ("refuse", "break", "lose"):
            code = "503 SlowDown" if fault == "refuse" else "500 InternalError"
            start_response(code, [("Content-Type", "application/xml")])
            name = code.split()[1]
            return [f"<?xml version='1.0'?><Error><Code>{name}</Code><Message>{fault}</Message></Error>".encode()]
        return self._application(environment, start_response)

    def bucket(self) -> str:
        """Makes a new bucket; returns its URL."""
        import boto3

        name = f"bucket-{uuid.uuid4().hex[:8]}"
        boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        ).create_bucket(Bucket=name)
        return f"s3://{name}"

    def close(self):
        self._server.shutdown()
