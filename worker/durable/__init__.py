"""Celery that loses no message. Each class here takes the place of one of Celery's or kombu's.

| Celery's or kombu's | ours | lost without it |
|---|---|---|
| ``Celery`` | ``results.WorkersCelery`` | a command that is done, when its result cannot be stored |
| ``task_cls`` | ``task.DurableTask`` | a command that fails while Postgres is away |
| ``Task.Request`` | ``request.DurableRequest`` | a message whose child dies, or that no child can be given |
| ``Task.Strategy`` | ``waiting.strategy`` | a worker's memory, to messages that are due much later |
| ``CommandTask.Strategy`` | ``batching.strategy`` | throughput: one transaction for each command |
| ``worker_consumer`` | ``consumer.DurableConsumer`` | what Celery cannot read: it drops that |
| ``worker_pool`` | ``pool.DurableTaskPool`` | time limits and half-read results, when the connection breaks |
| ``beat_scheduler`` | ``beat.SteadyScheduler`` | every sweep, when beat's clock is behind a worker's |
| ``control_cls`` | ``remote_control.WorkersControl`` | a worker, to a program that may write to the broker |
| ``amqp`` | ``connection.DurableAMQP`` | the transports below |
| ``redis.Transport`` | ``transport.DurableTransport`` | a message, between kombu's BRPOP and its note of it |
| ``redis.SentinelTransport`` | ``transport.DurableSentinelTransport`` | the same, behind sentinels |
| ``pyamqp.Transport`` | ``rabbitmq.transport.RabbitTransport`` | what RabbitMQ did not confirm |
| ``pyamqp.SSLTransport`` | ``rabbitmq.transport.RabbitSSLTransport`` | the same, over TLS |
| ``EventReceiver`` | ``event_receiver.RedactingReceiver`` | privacy: Flower would keep what people wrote |
| step of the worker | ``startup.KnownPool`` | messages that an unsupported pool takes and never runs |
| step of the worker | ``startup.NeededSettings`` | messages of another installation |
| step of the consumer | ``heartbeat.Heartbeat`` | time: a worker that lives and takes nothing looks healthy |
"""
