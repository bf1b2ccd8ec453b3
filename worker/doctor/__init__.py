"""``threadsync doctor``: looks at all that must be set up, changes nothing, and says how to mend it.

Each area gathers facts and judges them by pure functions: ``settings``, ``broker``, ``database``,
``running``, ``slack``, ``jira``, ``flower``. ``examination`` runs them side by side.
docs/operate/doctor.md lists the checks.
"""
