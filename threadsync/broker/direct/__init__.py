"""Publish to Valkey and Redis without kombu: one write and one read for a message and Flower's event.

| module | what it does |
|---|---|
| ``forms`` | texts of messages and events, as kombu and json write them |
| ``wire`` | bytes of requests, and replies out of bytes |
| ``opening`` | connections, opened by redis-py in a thread that a caller need not wait for |
| ``parcel`` | what one call sends, and its replies |
| ``link`` | one connection: what is on its way, and whose the next reply is |
| ``attempts`` | when to try again |
| ``threads`` | one connection for all threads: one of those that wait writes and reads for the others |
| ``loops`` | one connection for an event loop: one write for all that is sent in a turn of the loop |
| ``sender`` | the client's road: commands in, task ids out |

ADR 24 says why. Everything else, such as RabbitMQ, is published by ``threadsync.broker.publishing``.
"""
