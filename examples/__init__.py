"""What others may copy: programs around the app, not parts of it."""
