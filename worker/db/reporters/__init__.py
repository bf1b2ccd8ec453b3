"""Projects in which naming the requester as the reporter of a ticket did not work."""
