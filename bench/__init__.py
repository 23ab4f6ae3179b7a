"""``python -m bench``: where this app stands against what a user would pick instead, and the limit."""
