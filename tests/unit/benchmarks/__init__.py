"""What the benchmarks make of their measurements, and that they run."""
