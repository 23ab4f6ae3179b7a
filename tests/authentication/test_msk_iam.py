"""The token for Amazon MSK is a signed URL."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from streams.authentication import msk_iam
from streams.authentication.tokens import TokenRefused

pytestmark = pytest.mark.skipif(not msk_iam.is_installed(), reason="the extra msk is not installed")


def test_it_is_signed_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """With credentials of the environment: region, action, time of signing and 15 minutes; no secret."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "open-sesame")
    token = msk_iam.fetch("eu-central-1")
    assert 800 < token.lifetime <= 900
    url = urlsplit(base64.urlsafe_b64decode(token.text + "=" * (-len(token.text) % 4)).decode())
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert url.netloc == "kafka.eu-central-1.amazonaws.com"
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-Credential"].startswith("AKIAEXAMPLE/")
    assert len(query["X-Amz-Signature"]) == 64
    assert "open-sesame" not in url.query


def test_without_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Nothing is in the environment, in a file, or to be had of a machine: one sentence."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/credentials")
    with pytest.raises(TokenRefused, match="no AWS credentials were found"):
        msk_iam.fetch("eu-central-1")
