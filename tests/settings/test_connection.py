"""How clients connect: what the settings make of certificates and passwords, and what they refuse."""

import os
import ssl
from pathlib import Path

import pytest
import trustme

from streams.settings.connection import client_options
from streams.settings.load import load_settings
from streams.settings.table import MASK, SettingsError, effective

K = "STREAMS_KAFKA_"
SASL = {f"{K}SASL_MECHANISM": "PLAIN", f"{K}SASL_USER": "worker", f"{K}SASL_PASSWORD": "open-sesame"}


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a certificate, its key, and a key of another certificate."""
    folder = tmp_path_factory.mktemp("pems")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    mine, other = authority.issue_cert("worker"), authority.issue_cert("other")
    mine.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    mine.private_key_pem.write_to_path(str(folder / "key.pem"))
    other.private_key_pem.write_to_path(str(folder / "other.pem"))
    (folder / "junk.pem").write_text("junk")
    return folder


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return caught.value.problems


def test_without_settings_clients_connect_in_the_clear() -> None:
    """The default is PLAINTEXT, with nothing but the servers."""
    assert client_options(load_settings({})) == {"bootstrap_servers": ["127.0.0.1:9092"]}


def test_mutual_tls_and_sasl_reach_the_client(pems: Path) -> None:
    """SASL_SSL gives a verifying context with the own certificate, mechanism, user and password."""
    options = client_options(
        load_settings(
            {
                f"{K}SECURITY_PROTOCOL": "SASL_SSL",
                f"{K}CA_FILE": str(pems / "ca.pem"),
                f"{K}CLIENT_CERTIFICATE_FILE": str(pems / "cert.pem"),
                f"{K}CLIENT_KEY_FILE": str(pems / "key.pem"),
                **SASL,
            }
        )
    )
    context = options.pop("ssl_context")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1
    assert options == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "worker",
        "sasl_plain_password": "open-sesame",
    }


def test_the_host_name_check_can_be_off_and_certificates_are_checked_still(pems: Path) -> None:
    """STREAMS_KAFKA_HOST_NAME_CHECK=off gives up the name alone."""
    environ = {f"{K}SECURITY_PROTOCOL": "SSL", f"{K}CA_FILE": str(pems / "ca.pem")}
    context = client_options(load_settings({**environ, f"{K}HOST_NAME_CHECK": "off"}))["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)


OAUTH = {
    f"{K}SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    f"{K}SASL_MECHANISM": "OAUTHBEARER",
    f"{K}OAUTH_TOKEN_URL": "https://idp.example.org/token",
    f"{K}OAUTH_CLIENT_ID": "worker",
    f"{K}OAUTH_CLIENT_SECRET": "open-sesame",
}


def test_a_token_provider_reaches_the_client() -> None:
    """With OAUTHBEARER clients are given who fetches tokens, and what the broker wants beside them."""
    extensions = {f"{K}OAUTH_EXTENSIONS": "logicalCluster=lkc-1, identityPoolId=pool-1"}
    options = client_options(load_settings(OAUTH | extensions))
    provider = options.pop("sasl_oauth_token_provider")
    assert provider.extensions() == {"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}
    assert options == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
    }


@pytest.mark.parametrize("field", ["TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET"])
def test_a_token_needs_whom_to_ask_and_as_whom(field: str) -> None:
    """What OAUTHBEARER lacks is named."""
    (problem,) = problems({name: value for name, value in OAUTH.items() if name != f"{K}OAUTH_{field}"})
    assert problem == f"{K}SASL_MECHANISM is OAUTHBEARER and {K}OAUTH_{field} is missing"


@pytest.mark.parametrize(
    ("environ", "unused"),
    [
        (OAUTH | {f"{K}SASL_USER": "worker"}, "SASL_USER"),
        (OAUTH | {f"{K}AWS_REGION": "eu-central-1"}, "AWS_REGION"),
        (SASL | {f"{K}SECURITY_PROTOCOL": "SASL_PLAINTEXT", f"{K}OAUTH_SCOPE": "kafka"}, "OAUTH_SCOPE"),
    ],
)
def test_what_the_mechanism_does_not_use_is_refused(environ: dict[str, str], unused: str) -> None:
    """A setting that would do nothing stops the start."""
    (problem,) = problems(environ)
    assert problem.startswith(f"{K}{unused} is set and {K}SASL_MECHANISM is ")


def test_aws_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra msk, the sentence says what to install; with it, clients are given a provider."""
    environ = {
        f"{K}SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        f"{K}SASL_MECHANISM": "AWS_MSK_IAM",
        f"{K}AWS_REGION": "eu-central-1",
    }
    monkeypatch.setattr("streams.authentication.msk_iam.is_installed", lambda: False)
    (problem,) = problems(environ)
    assert problem.endswith("pip install 'confirmation-streams[msk]'")
    monkeypatch.setattr("streams.authentication.msk_iam.is_installed", lambda: True)
    options = client_options(load_settings(environ))
    assert options["sasl_mechanism"] == "OAUTHBEARER"
    assert "sasl_oauth_token_provider" in options


@pytest.mark.parametrize("field", ["SASL_MECHANISM", "SASL_USER", "SASL_PASSWORD"])
def test_sasl_needs_all_three(field: str) -> None:
    """User, password and mechanism go together with a SASL protocol: the missing one is named."""
    environ = {f"{K}SECURITY_PROTOCOL": "SASL_PLAINTEXT", **SASL}
    del environ[K + field]
    (problem,) = problems(environ)
    assert problem.startswith(f"{K}SECURITY_PROTOCOL is SASL_PLAINTEXT and {K}{field} is missing")


def test_settings_that_the_protocol_ignores_are_refused(pems: Path) -> None:
    """Credentials that would silently not be used, as the protocol is PLAINTEXT, stop the start."""
    found = problems({**SASL, f"{K}CA_FILE": str(pems / "ca.pem")})
    assert len(found) == 4
    assert all("STREAMS_KAFKA_SECURITY_PROTOCOL is PLAINTEXT: allowed with it are" in each for each in found)
    assert "open-sesame" not in "".join(found)


@pytest.mark.parametrize(
    ("certificate", "key", "sentence"),
    [
        ("cert.pem", None, "go together: one is missing"),
        (None, "key.pem", "go together: one is missing"),
        ("cert.pem", "other.pem", "is not the key of the certificate"),
        ("cert.pem", "junk.pem", "holds no private key in PEM form"),
        ("junk.pem", "key.pem", "holds no certificate in PEM form"),
    ],
)
def test_certificate_and_key_must_fit(
    pems: Path, certificate: str | None, key: str | None, sentence: str
) -> None:
    """A missing half, another certificate's key, and files that are neither are told apart."""
    names = {"CLIENT_CERTIFICATE_FILE": certificate, "CLIENT_KEY_FILE": key}
    given = {K + name: str(pems / file) for name, file in names.items() if file}
    (problem,) = problems({f"{K}SECURITY_PROTOCOL": "SSL", **given})
    assert sentence in problem


def test_an_encrypted_key_needs_its_password(pems: Path, tmp_path: Path) -> None:
    """A missing and a wrong password are told apart, the right one opens the key, and nothing is asked."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((pems / "key.pem").read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"right-word"),
        )
    )
    environ = {
        f"{K}SECURITY_PROTOCOL": "SSL",
        f"{K}CLIENT_CERTIFICATE_FILE": str(pems / "cert.pem"),
        f"{K}CLIENT_KEY_FILE": str(locked),
    }
    word = f"{K}CLIENT_KEY_PASSWORD"
    assert problems(environ)[0].endswith(f"is encrypted and {word} is missing")
    (wrong,) = problems({**environ, word: "wrong-word"})
    assert wrong.endswith(f"is encrypted and {word} does not open it")
    assert "wrong-word" not in wrong
    assert "ssl_context" in client_options(load_settings({**environ, word: "right-word"}))


def test_an_authority_file_must_hold_one(pems: Path) -> None:
    """A file without a certificate is refused by name, for the brokers and for the token endpoint."""
    (problem,) = problems(OAUTH | {f"{K}OAUTH_CA_FILE": str(pems / "junk.pem")})
    assert problem == f"{K}OAUTH_CA_FILE ({pems / 'junk.pem'}) holds no certificate in PEM form"
    (problem,) = problems({f"{K}SECURITY_PROTOCOL": "SSL", f"{K}CA_FILE": str(pems / "junk.pem")})
    assert problem == f"{K}CA_FILE ({pems / 'junk.pem'}) holds no certificate in PEM form"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_refused(pems: Path, tmp_path: Path) -> None:
    """A certificate file without the right to read it is refused with the system's reason."""
    path = tmp_path / "ca.pem"
    path.write_bytes((pems / "ca.pem").read_bytes())
    path.chmod(0)
    (problem,) = problems({f"{K}SECURITY_PROTOCOL": "SSL", f"{K}CA_FILE": str(path)})
    assert problem.endswith("cannot be read: Permission denied")


def test_no_password_is_shown() -> None:
    """The settings in force show a password as a mask."""
    rows = effective(load_settings({f"{K}SECURITY_PROTOCOL": "SASL_PLAINTEXT", **SASL}))
    assert {each.value for each in rows if each.row.name == f"{K}SASL_PASSWORD"} == {MASK}
    assert "open-sesame" not in repr(rows)
