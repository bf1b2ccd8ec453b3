"""RabbitMQ with the same promises as Valkey (ADR 11), which kombu's transport for AMQP does not keep."""
