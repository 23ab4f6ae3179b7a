"""Looks at dead letters, and gives them a second chance (``streams dead-letters``)."""
