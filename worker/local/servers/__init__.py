"""Real Postgres and Valkey servers from wheels, run as our children: docs/adr/0003-embedded-servers.md."""
