"""``threadsync doctor``: check the configuration, change nothing, and say how to fix what is wrong.

Each area gathers facts and judges them by pure functions: ``settings``, ``broker``, ``database``,
``running``, ``slack``, ``jira``, ``flower``. ``examination`` runs them at the same time.
docs/operate/doctor.md lists the checks.
"""
