"""RabbitMQ, the bridge, the worker and the mailer on this machine."""
