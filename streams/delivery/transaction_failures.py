"""What a transaction's failure is called: the classes of the port, and sentences of ours."""

from __future__ import annotations

import struct

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    ProducerFenced,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownMemberIdError,
)

from streams.delivery.transaction import Denied, Fenced, TopicFault, TransactionFailed
from streams.delivery.transaction_protocol import FencedInstanceIdError, OffsetsRefused

#: The worker is no longer the member to which the group gave the partition.
_MOVED = (IllegalGenerationError, UnknownMemberIdError, RebalanceInProgressError, FencedInstanceIdError)
_DENIED = (ClusterAuthorizationFailedError, TransactionalIdAuthorizationFailed)

#: Errors of programming. The client library makes them too, in states that pass.
_BUGS = (AssertionError, AttributeError, LookupError, NameError, TypeError, struct.error)


def named(exc: Exception, transactional_id: str, group: str, throttled: float) -> Exception:
    """Return the port's error for one of the client library; a bug of ours stays what it is.

    Class names only: texts of the client library may quote what was being sent.

    Args:
        exc: what was raised.
        transactional_id: of the transactions.
        group: whose offsets they commit.
        throttled: seconds that the broker asked to wait, by a quota.
    """
    if isinstance(exc, Fenced | Denied | TransactionFailed) or _is_bug_of_ours(exc):
        return exc
    kind = type(exc).__name__
    if isinstance(exc, _DENIED):
        return Denied(f"{kind} for transactional.id {transactional_id}")
    if isinstance(exc, (ProducerFenced, *_MOVED)):
        return Fenced(kind)
    if isinstance(exc, TopicAuthorizationFailedError):
        verb = "read" if isinstance(exc, OffsetsRefused) else "write to"
        kind = TopicAuthorizationFailedError.__name__
        return TopicFault(kind, f"the cluster does not let this worker {verb} {_topics_in(exc)} ({kind})")
    if isinstance(exc, GroupAuthorizationFailedError):  # given back, it is as before
        return TransactionFailed(
            kind, f"the cluster does not allow this worker Read on group {group} ({kind})"
        )
    if isinstance(exc, TimeoutError) and throttled:
        return TransactionFailed(
            kind,
            f"{kind}: a quota of the cluster slows this worker down; the broker told it to wait"
            f" {throttled:.0f} s",
        )
    return TransactionFailed(kind)


def _is_bug_of_ours(exc: BaseException) -> bool:
    """Whether code of this package raised it. Tried again it would fail again, and nobody would hear why."""
    if not isinstance(exc, _BUGS):
        return False
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals["__name__"].startswith("streams.")


def _topics_in(exc: TopicAuthorizationFailedError) -> str:
    named = exc.args[0] if exc.args else ()
    topics = [named] if isinstance(named, str) else sorted(named)
    return f"topic {', '.join(topics)}" if topics else "one of its topics"
