"""The incident, replayed: one organisation's CRM dies in each way that it can, and every email still leaves.

Beside it the same actions go through a consumer that awaits each lookup, as it was when 1,400 people never
got their email.
"""

from streams.sandbox.drill.command import run_drill

__all__ = ["run_drill"]
