"""The command line: `locum run`, `status`, `resign`, `journal`, `doctor`, `demo`."""
