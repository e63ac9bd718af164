"""Parts of the benchmark `agents`."""
