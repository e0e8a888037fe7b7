"""Scheduled jobs for a cluster: each scheduled time fires once, whichever instance is there to see it.

What is decided stands in rooms without I/O: `triggers`, `zones` and `misfires` say when, `overlap` and `retry` whether.
The `ledger` keeps runs in a database, and `crew` runs them.
"""
