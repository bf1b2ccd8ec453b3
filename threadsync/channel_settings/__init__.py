"""A channel's own settings: the member ``threadsync`` of its context.

| module | what is in it |
|---|---|
| ``values`` | the settings, and reading them from a context that may hold anything |
| ``patches`` | the merge patches that set and remove one |
| ``parsing`` | ``name=value …`` and ``reset``, as people write them |
| ``resolution`` | the project, type, labels and priority of a ticket, and where each comes from |
| ``directory`` | comparing projects and types with those that Jira has |
| ``answers`` | the answers of lookups as what that needs |
| ``words`` | sentences about settings |

All of it is pure: data in, data out.
"""
