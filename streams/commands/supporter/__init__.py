"""What is known of one supporter of one organisation, and how that is forgotten (``streams supporter``)."""
