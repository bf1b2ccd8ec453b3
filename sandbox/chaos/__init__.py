"""``make chaos``: check that each session gets one ticket, whatever fails at any step; time is virtual."""
