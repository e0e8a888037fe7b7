"""The drivers: one dialect each, no policy. They are loaded by `locum.registry`, when their URL is used."""
