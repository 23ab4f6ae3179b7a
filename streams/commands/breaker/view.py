"""What each worker says of an organisation's circuit breaker, by organisation, as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streams.commands.command_line import counted
from streams.commands.top.table import UNKNOWN, aligned, duration
from streams.lookup.breaker import State
from streams.observability.group_overview import GroupView
from streams.observability.worker_summary import LookupSummary, WorkerSummary

_HEAD = ("WORKER", "BREAKER", "SINCE", "NEXT PROBE", "FAILED", "ASKED")


@dataclass(frozen=True, slots=True)
class OrganisationBreakers:
    """One organisation's circuit breakers.

    Attributes:
        organisation: None: those organisations that share one lookup.
        label: as the workers' pages call it.
        workers: those that say something of it, with what they say; None: it has not asked this lookup.
    """

    organisation: int | None
    label: str
    workers: Sequence[tuple[WorkerSummary, LookupSummary | None]]

    @property
    def not_closed(self) -> int:
        """At how many workers the breaker is not closed."""
        return sum(lookup is not None and lookup.state is not State.CLOSED for _, lookup in self.workers)


def breakers_of(view: GroupView, organisation: int | None) -> list[OrganisationBreakers]:
    """Return what the workers that answered say, by organisation.

    Args:
        view: of the group.
        organisation: the only one that is wanted; None: all whose breaker is not closed at some worker, the
            ones at most workers first.
    """
    workers = [each for each in view.workers if each.ready is not None]
    if organisation is not None:
        said = [(worker, _said_of(organisation, worker)) for worker in workers]
        label = next((lookup.label for _, lookup in said if lookup), f"organisation {organisation}")
        return [OrganisationBreakers(organisation, label, said)]
    found: dict[int | None, list[tuple[WorkerSummary, LookupSummary | None]]] = {}
    for worker in workers:
        for lookup in worker.lookups:
            found.setdefault(lookup.organisation, []).append((worker, lookup))
    all_of_them = [
        OrganisationBreakers(whose, next(lookup.label for _, lookup in said if lookup), said)
        for whose, said in found.items()
    ]
    return sorted(
        (each for each in all_of_them if each.not_closed),
        key=lambda each: (-each.not_closed, each.organisation or 0),
    )


def _said_of(organisation: int, worker: WorkerSummary) -> LookupSummary | None:
    by_organisation = {lookup.organisation: lookup for lookup in worker.lookups}
    return by_organisation.get(organisation) or by_organisation.get(None)


def not_listed(view: GroupView) -> int:
    """Return of how many lookups no worker's list, which begins with those that are down, says anything."""
    full = [each for each in view.workers if all(row.state is not State.CLOSED for row in each.lookups)]
    return sum(each.lookups_more for each in full)


def document(view: GroupView, organisation: int | None) -> dict[str, Any]:
    """Return it for JSON; schemas/commands/breaker.json says how it looks."""
    whole = view.document()
    return {
        **{name: whole[name] for name in ("group", "time", "state", "problem")},
        "organisations": [
            {
                "organisation": each.organisation,
                "label": each.label,
                "workers": [_opinion(worker, lookup) for worker, lookup in each.workers],
            }
            for each in breakers_of(view, organisation)
        ],
        "not_listed": 0 if organisation is not None else not_listed(view),
        "silent": [
            {"worker": each.worker, "address": each.address, "problem": each.problem}
            for each in view.workers
            if each.ready is None
        ],
    }


def _opinion(worker: WorkerSummary, lookup: LookupSummary | None) -> dict[str, Any]:
    return {
        "worker": worker.worker,
        "address": worker.address,
        "breaker": lookup and lookup.state,
        "since_seconds": lookup and lookup.down_seconds,
        "next_probe_seconds": lookup and lookup.next_probe_seconds,
        "asked": lookup and lookup.asked,
        "failed": lookup and lookup.failed,
    }


def lines_of(view: GroupView, organisation: int | None) -> Iterator[str]:
    """Return it for people."""
    head = f"group {view.group}: {counted(len(view.workers), 'worker')}, {view.silent} silent"
    yield f"{head}; {view.problem}" if view.problem else head
    if len(view.workers) > view.silent:
        found = breakers_of(view, organisation)
        for each in found:
            yield ""
            where = f"{each.not_closed} of {counted(len(each.workers), 'worker')}"
            yield f"{each.label}: {f'not closed at {where}' if each.not_closed else 'open at no worker'}"
            yield from aligned([_HEAD, *(_row(worker, lookup) for worker, lookup in each.workers)])
        if not found:
            yield "the circuit breaker of each lookup is closed"
        if organisation is None and (more := not_listed(view)):
            yield f"{more:,} more may not be closed: --org ORG_ID asks about one"
    for worker in view.workers:
        if worker.ready is None:
            yield f"{worker.worker or 'a worker'}: {worker.problem}"


def _row(worker: WorkerSummary, lookup: LookupSummary | None) -> list[str]:
    name = worker.worker or UNKNOWN
    if lookup is None:
        return [name, "not asked yet", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    state = str(lookup.state).replace("_", "-")
    return [name, state, duration(lookup.down_seconds), _probe(lookup), str(lookup.failed), str(lookup.asked)]


def _probe(lookup: LookupSummary) -> str:
    if lookup.state is State.CLOSED:
        return UNKNOWN
    if lookup.next_probe_seconds is None:
        return "under way"
    return f"in {duration(lookup.next_probe_seconds)}" if lookup.next_probe_seconds else "the next action"
