"""Who may do what: accounts, sessions, tokens, roles and their rights.  May import `store`, `care`, `errors`, `config`.

Pure Python: the HTTP side (cookies, headers, forms) is in `cloud_hub.web.guard`, `web.oauth` and `web.api.session`.
"""
