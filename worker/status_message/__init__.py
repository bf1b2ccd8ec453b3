"""The status message of a sync: one Slack message in its thread, edited as the sync goes on."""
