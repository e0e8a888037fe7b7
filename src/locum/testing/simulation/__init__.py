"""Whole clusters in virtual time, one seed a run."""
