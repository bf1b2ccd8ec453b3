"""``make chaos``: one ticket a session, whatever fails, at every step, in any order; time is virtual."""
