"""The proof for live topics: every action that asks for an email has exactly one (``streams audit``)."""
