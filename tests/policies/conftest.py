"""A local provider that fails, and nothing between it and the SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from tests.policies.server import Provider, provider

END = "-----END CERTIFICATE-----\n"


@pytest.fixture(scope="session")
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one certificate: to load all of them is most of what a client costs here."""
    path = tmp_path_factory.mktemp("certificates") / "one.pem"
    after = Path(certifi.where()).read_text().partition("-----BEGIN")[2]
    path.write_text(f"-----BEGIN{after.partition(END)[0]}{END}")
    return path


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, one_certificate: Path) -> None:
    """This machine's proxies, keys and certificates are hidden from these tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("SSL_CERT_FILE", str(one_certificate))


@pytest.fixture
def failing() -> Iterator[Provider]:
    """A provider that fails as a test lays out."""
    with provider() as server:
        yield server
