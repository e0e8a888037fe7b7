"""Immutable pictures for people and programs, read from the store alone."""
