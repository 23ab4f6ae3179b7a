"""Brings Proca's messages from RabbitMQ to Kafka."""
