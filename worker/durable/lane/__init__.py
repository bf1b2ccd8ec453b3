"""The fast lane: plain commands go to a child as bytes, and to Postgres in one transaction.

    Valkey           TAKE picks plain messages out: first delivery, a name of the lane, no larger than 16 KiB
      |                (worker/durable/scripts.py); all others are rows for the ordinary road
    main process     Lane.take -> a child is free -> all that has come until then, as one job of the pool;
      |                it parses nothing, renews what it holds, keeps the time limits, and counts
    child            run_chunk: read -> all statements in one transaction -> results, Flower's events
      |                and END in one write
    main process     Lane: what is left over takes the ordinary road, one by one

| left over | why |
|---|---|
| a message that is not plain (``reading.py``) | eta, expiry, retries, chain, stamps, a parent … |
| an id that is there twice, or was revoked | Celery knows what is to be done |
| a command that is invalid, or that the statement refuses | it may wait, or become a dead letter |
| all of a chunk, if Postgres is away | each of them waits |

A chunk whose child dies or runs out of time goes back to the broker; what was delivered before never takes
the lane, so that it runs alone. Nothing is lost between the two roads: a message that is left over is still
held under its tag, and one that was carried out is idempotent.

The lane is closed, and all take the ordinary road, by ``FAST_LANE=false``, and while a program listens to
Celery's signals for tasks, OpenTelemetry traces, a command has a rate limit or a time limit of its own,
processes are replaced after a number of tasks, or results are kept elsewhere than in Valkey or Redis
(``opening.py``). RabbitMQ has no lane.
"""
