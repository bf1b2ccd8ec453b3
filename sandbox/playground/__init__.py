"""The playground: a page in place of Slack's client, beside the tickets of the sandbox Jira.

Each action of the page becomes a signed request to the real Slack endpoint. The server signs; the browser
never has the secret.
"""
