"""Circuit breakers of lookups: what each worker says, and a person's decision (``streams breaker``)."""
