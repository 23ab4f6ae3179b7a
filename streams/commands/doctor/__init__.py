"""Looks at a live installation and says in plain words what is wrong, and what helps (``streams doctor``)."""
