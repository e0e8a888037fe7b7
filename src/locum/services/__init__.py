"""The kinds of service, and how each is run."""
