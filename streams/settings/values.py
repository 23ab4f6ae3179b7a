"""What a single setting's value must look like, where a range or a choice cannot say it.

Each function takes the value, returns it as it is used, and raises ValueError without a text: what is allowed
stands once, in the settings table, and the value itself may be a secret.
"""

import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

MASK = "********"

_HOST_LABELS = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d)", re.ASCII)
_EXTENSION = re.compile(r"(?!auth=)[A-Za-z]+=[!-+\--~]+")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")

# What may be a password in a URL or a list of servers: all before the last @, and, where somebody left out
# the @ and the host, all after a colon that begins no port.
_LOGIN = re.compile(r"^([a-z+]*://)?.*@", re.IGNORECASE | re.DOTALL)
_NO_PORT = re.compile(r":(?!//)(?=[^:/,?\s]*[^\d:/,?\s])[^,]+")


def without_secrets(text: str) -> str:
    """A wrong value as it may be repeated: neither a login nor a URL's query, which often holds a key."""
    text = _LOGIN.sub(rf"\1{MASK}@", text)
    text = without_query(text)
    return _NO_PORT.sub(f":{MASK}", text)


def without_query(text: str) -> str:
    """A URL as it may be shown: its query often holds an API key."""
    head, mark, _ = text.partition("?")
    return f"{head}?{MASK}" if mark and "://" in head else text


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return _HOST_LABELS.fullmatch(text) is not None
    return True


def seconds(value: object) -> object:
    """``500ms``, ``30s``, ``5m``, ``24h`` or ``30d`` to a number of seconds; what is no such text stays."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        return float(match[1]) * _UNITS[match[2]]
    return value


def servers(value: object) -> object:
    """``host:port,host:port`` to a tuple; IPv6 addresses in brackets."""
    if not isinstance(value, str):
        return value
    servers = tuple(part.strip() for part in value.split(","))
    for server in servers:
        host, _, port = server.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            ip_address(host[1:-1])
        elif ":" in host or not _is_host(host):
            raise ValueError
        if not (port.isdecimal() and port.isascii() and 1 <= int(port) <= 65535):
            raise ValueError
    return servers


def plain_name(name: str) -> str:
    """What Kafka allows in a topic name, which also keeps group and transactional ids readable."""
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ValueError
    return name


def host(host: str) -> str:
    """An IP address or a host name (RFC 1123, and underscores, which Docker's DNS serves)."""
    if not _is_host(host):
        raise ValueError
    return host


def address(text: str) -> str:
    """A host, or host:port; IPv6 in brackets where a port follows it."""
    name, colon, _port = text.rpartition(":")
    if not colon or (":" in name and not name.endswith("]")):  # no port, and maybe an IPv6 address
        return host(text)
    servers(text)
    return text


def host_names(value: object) -> object:
    """``name,name`` to a tuple of host names."""
    if not isinstance(value, str):
        return value
    return tuple(host(part.strip()) for part in value.split(","))


def http_url(url: str) -> str:
    """An absolute http or https URL to which a request can be sent as it stands."""
    parts = urlsplit(url)
    valid = url.isascii() and url.isprintable() and " " not in url and parts.scheme in {"http", "https"}
    # A password in the URL would end up in logs and errors; it has its own, masked settings.
    if not valid or parts.fragment or parts.username is not None or not _is_host(parts.hostname or ""):
        raise ValueError
    if parts.port == 0:  # reading it also refuses what is no port number
        raise ValueError
    return url


def header_text(secret: SecretStr) -> SecretStr:
    """RFC 9110, section 5.5: a field value with a line break would be a second header."""
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError
    return secret


def user(name: str) -> str:
    """RFC 7617, section 2: the first colon ends the user name, so it cannot hold one."""
    if ":" in name or not name.isprintable():
        raise ValueError
    return name


def existing_file(path: Path) -> Path:
    """A file that is there now: a missing one is found at the start, not at the first lookup."""
    try:
        if path.is_file():
            return path
    except OSError:  # a name that is too long, or a folder that may not be looked into
        pass
    raise ValueError


def sasl_user(name: str) -> str:
    """RFC 4616, section 2: NUL ends a user name; a line break or another control character is a mistake."""
    if not name.isprintable():
        raise ValueError
    return name


def sasl_extensions(value: object) -> object:
    """``name=value,name=value`` to a tuple of these parts; ``auth`` is the token's (RFC 7628, 3.1)."""
    if not isinstance(value, str):
        return value
    extensions = tuple(part.strip() for part in value.split(","))
    if not all(_EXTENSION.fullmatch(part) for part in extensions):
        raise ValueError
    return extensions
