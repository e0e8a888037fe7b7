"""What the fault tests are made of: clusters of real processes, the rows that their bodies write, and the judges."""
