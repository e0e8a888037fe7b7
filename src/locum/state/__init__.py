"""The state of a partition: a log in a database beside the store, and what a replica has in memory of it."""
