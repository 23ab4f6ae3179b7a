"""What can go wrong with the processes and servers of the sandbox."""


class SandboxError(RuntimeError):
    """The sandbox cannot go on. The text is a sentence for people, where it helps with a log's last lines."""


class ProcessFailed(SandboxError):
    """A process ended that should have run, or did not get ready, or did not end, in time."""
