"""One test for each row of the fault table: real processes, real signals, real stores."""
