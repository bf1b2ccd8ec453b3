"""Jira: the form of a ticket, the one POST that makes it, and the calls that look for it."""
