"""Logins to Jira: where requests go, and the header that authenticates them.

| login | class | requests go to | header |
|---|---|---|---|
| classic API token | `ClassicToken` | the site | Basic |
| scoped API token | `ScopedToken` | the gateway, `/ex/jira/<cloud id>` | Basic |
| OAuth 2 client credentials | `ClientCredentials` | the same | Bearer, renewed |
| Data Center access token | `DataCenterToken` | the site | Bearer |

`choose` makes the login of an account. Links, site and marker are made of ``JIRA_URL`` under each of them.
"""
