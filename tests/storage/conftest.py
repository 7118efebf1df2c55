import pytest
import s3_server


@pytest.fixture(scope="session")
def s3():
    server = s3_server.Server()
    yield server
    server.close()


@pytest.fixture
def bucket(s3, monkeypatch):
    """The URL of a new bucket on a server that does not fail."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3.faults, s3.requests[:] = (lambda method, path: ""), []
    return s3.bucket()
