"""One module a contender; each imports its own library and `benchmarks.jobs.work` alone."""
