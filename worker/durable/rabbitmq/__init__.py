"""RabbitMQ to the same promises as Valkey: what kombu's transport for AMQP leaves open.

| module | what it adds |
|---|---|
| ``transport`` | confirms, limits for each wait, prefetch that quorum queues allow, queues as they are |
| ``receiving`` | a message that is too large arrives cut off |
| ``waiting`` | a message that is due later waits in the broker, not in a worker |
"""
