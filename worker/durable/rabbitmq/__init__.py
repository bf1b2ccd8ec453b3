"""RabbitMQ to the same promises as Valkey (ADR 11): what kombu's transport for AMQP leaves open."""
