"""Wait for results by one subscription in place of polling.

    process (its threads)  --+                                   +--> resp3: bytes -> replies
    each asyncio loop      --+--> Line: socket, opener --> Waiters: who waits for what, what to ask

Each has one connection with RESP3, on which a subscriber may also read. To wait for a result means: look
(GETRANGE); if it is not there, SUBSCRIBE to its channel and look again, so that nothing is missed between the
two; then look at each message. A message is no more than a call to look: channels belong to no database, so
one of a command with the same id elsewhere must not be taken for the result.

| module | what |
|---|---|
| ``resp3`` | the server's replies, from pieces of bytes; payloads are thrown away. Pure |
| ``waiters`` | who waits for what, and the commands to send. Pure |
| ``opening`` | makes the connection by redis-py, in a thread of its own |
| ``line`` | the socket between them, without blocking |
| ``threads`` | waiting threads: one of them reads for all |
| ``event_loop`` | waiting tasks of one asyncio loop, which reads itself |
| ``results`` | the entrance: one line for each process and loop |
"""
