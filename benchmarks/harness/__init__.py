"""What all benchmarks share: rows, and where they are written."""
