"""Locum inside other frameworks, and those inside a host; each loads its library when it is used."""
