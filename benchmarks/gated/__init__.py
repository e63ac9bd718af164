"""Parts of the benchmark `logic_gated`."""
