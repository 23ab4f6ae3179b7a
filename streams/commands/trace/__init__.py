"""Where one action is, what was decided about it and why, and where its email lies (``streams trace``)."""
