"""What a worker with these settings would decide for the actions of a file (``streams decide``)."""
