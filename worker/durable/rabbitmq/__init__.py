"""RabbitMQ to the same promises as Valkey: what kombu's transport for AMQP leaves open.

| module | what it adds |
|---|---|
| ``transport`` | confirms, limits for each wait, prefetch that quorum queues allow, queues as they are |
| ``clock`` | the broker's time |
| ``signs`` | signs of life, in a stream, and what waits in the queues |
| ``waiting`` | a message that is due later waits in the broker, not in a worker |
"""
