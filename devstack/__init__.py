"""The whole system on one machine: real servers from wheels, started, supervised and stopped together."""
