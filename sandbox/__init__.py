"""Slack and Jira as servers on this machine, for the demo, the playground and the tests."""

from threadsync.extras import need_extra

need_extra("local", "aiohttp", "httpx", "typer", "psycopg", "uvicorn")
