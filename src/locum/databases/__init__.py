"""Databases beside the store, for what is more than a record: a file, or tables on the store's server."""
