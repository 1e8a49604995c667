"""Performance figures of freqlstm, each measured beside what it is compared with: ``python -m benchmarks``."""
