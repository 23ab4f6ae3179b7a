"""How a Kafka client proves who it is where a password is not enough: tokens, and sessions that end."""
