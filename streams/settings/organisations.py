"""Lookup configuration per organisation: from the organisations file, or one for all from plain settings."""

import logging
from collections.abc import Callable, Mapping

from streams.lookup.client import Endpoint, basic
from streams.messages.decode import Outcome
from streams.settings.organisation_keys import InMessage
from streams.settings.organisations_file import Organisations, OrganisationsError, load_organisations
from streams.settings.table import Settings

log = logging.getLogger(__name__)


class OrganisationsInForce:
    """The organisations file as it was read last, or one lookup for everybody."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Read them.

        Raises:
            OrganisationsError: the file is wrong.
        """
        self._settings = settings
        self._environ = environ
        self.organisations = self._read()

    def _read(self) -> Organisations:
        settings = self._settings
        if settings.organisations_file is not None:
            organisations = load_organisations(settings.organisations_file, self._environ)
            self._check_deadlines(organisations)
            return organisations
        return Organisations.from_default(
            _endpoint(settings),
            concurrency=settings.lookup_concurrency,
            subscribed_lifetime=settings.lookup_keep_subscribed,
            not_subscribed_lifetime=settings.lookup_keep_not_subscribed,
        )

    def _check_deadlines(self, organisations: Organisations) -> None:
        stuck_after = self._settings.stuck_after
        problems = [
            f"{'default' if policy.org_id is None else f'organisation.{policy.org_id}'}.deadline"
            f" ({policy.lookup.deadline:g} s) must be less than STREAMS_STUCK_AFTER ({stuck_after:g} s)"
            for policy in (organisations.default, *organisations)
            if policy.lookup is not None and policy.lookup.deadline >= stuck_after
        ]
        if problems:
            assert self._settings.organisations_file is not None
            raise OrganisationsError(self._settings.organisations_file, problems)

    def reload(self, apply: Callable[[Organisations], None]) -> None:
        """Read the file again and `apply` it; a wrong file changes nothing and is logged."""
        try:
            self.organisations = self._read()
        except OrganisationsError as exc:
            log.error(
                "the organisations file is not taken over, the old one stays in force: %s",
                exc,
                extra={"event": "organisations_refused"},
            )
            return
        apply(self.organisations)
        log.info(
            "organisations read again: %d with an entry",
            len(list(self.organisations)),
            extra={"event": "organisations_read"},
        )

    def lifetime(self, org_id: int, outcome: Outcome) -> float:
        """Return how long an answer is believed, in seconds; 0: it is not kept."""
        policy = self.organisations.of(org_id)
        return policy.subscribed_lifetime if outcome is Outcome.EXISTING else policy.not_subscribed_lifetime

    def message_decides(self, org_id: int) -> bool:
        """Whether an action of this organisation may say itself that its signer is subscribed."""
        return self.organisations.of(org_id).in_message is InMessage.BELIEVED

    def named(self, org_id: int) -> bool:
        """Whether the file has an entry for this organisation."""
        return self.organisations.of(org_id).org_id is not None


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
