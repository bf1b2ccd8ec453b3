"""What people see of a sync in Slack: one message in its thread, edited as things go on."""
