"""What the tables of settings are made of: fields with default, allowed range and meaning; and types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from streams.settings.values import existing_file, host_names, plain_name, seconds, servers


def number(default: float, low: float, high: float, unit: str, meaning: str) -> Any:
    """A number between two bounds, in a unit."""
    allowed = f"{low:,.12g} to {high:,.12g}"
    return Field(
        default, ge=low, le=high, description=meaning, json_schema_extra={"unit": unit, "allowed": allowed}
    )


def other(default: object, allowed: str, meaning: str, **more: str | bool) -> Any:
    """Any other value; `allowed` says in words what it may be, `more` may hold a second name as ``bare``."""
    return Field(default, description=meaning, json_schema_extra={"unit": "", "allowed": allowed, **more})


def secret(allowed: str, meaning: str, **more: str) -> Any:
    """A text that is masked wherever it is shown, and may be in a file."""
    return other(None, allowed, meaning, secret=True, **more)


PEM = "a PEM file that exists"
TOPIC = "up to 200 letters, digits, '.', '_' and '-'"

Servers = Annotated[tuple[str, ...], BeforeValidator(servers)]
HostNames = Annotated[tuple[str, ...], BeforeValidator(host_names)]
Seconds = Annotated[float, BeforeValidator(seconds)]
PlainName = Annotated[str, AfterValidator(plain_name)]
PemFile = Annotated[Path, AfterValidator(existing_file)] | None
