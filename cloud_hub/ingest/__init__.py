"""Taking in what edges send: check, commit, then receipt (reliability 2.3).

`admit` decides (pure), `store.samples` and `store.care_records` keep, `worker` joins them in one transaction for each
batch, `mqtt` is the only module that knows the MQTT library.  May import `store`, `access`, `errors`, `config`.
"""
