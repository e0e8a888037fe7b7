"""The host: a set of services, started in order, run, and stopped in reverse."""
