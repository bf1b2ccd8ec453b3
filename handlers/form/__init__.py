"""The form that asks for a ticket: fields as data, Slack's blocks, and drafts. The pure part knows no I/O."""
