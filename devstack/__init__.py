"""The whole system on one machine: real servers from wheels, started, watched and stopped as one."""
