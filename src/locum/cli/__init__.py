"""The command line: `locum run`, `status`, `resign`, `journal`, `demo`."""
