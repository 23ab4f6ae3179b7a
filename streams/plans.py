"""Whose lookup is asked how: the organisations file, or one lookup for everybody from plain settings."""

from __future__ import annotations

from collections.abc import Mapping

from streams.lookup.client import Endpoint, basic
from streams.organisations import Organisations, load_organisations
from streams.settings import Settings


def organisations_from(settings: Settings, environ: Mapping[str, str]) -> Organisations:
    """Return every organisation's plan.

    Raises:
        OrganisationsError: the file is wrong.
    """
    if settings.organisations_file is not None:
        return load_organisations(settings.organisations_file, environ)
    return Organisations.from_default(
        _endpoint(settings),
        concurrency=settings.lookup_concurrency,
        subscribed_lifetime=settings.lookup_keep_subscribed,
        not_subscribed_lifetime=settings.lookup_keep_not_subscribed,
    )


def _endpoint(settings: Settings) -> Endpoint | None:
    if settings.lookup_url is None:
        return None
    authorization = None
    if settings.lookup_authorization is not None:
        authorization = settings.lookup_authorization.get_secret_value()
    elif settings.lookup_user is not None and settings.lookup_password is not None:
        authorization = basic(settings.lookup_user, settings.lookup_password.get_secret_value())
    return Endpoint(
        settings.lookup_url,
        authorization=authorization,
        deadline=settings.lookup_deadline,
        connections=settings.lookup_concurrency,
    )
