"""The load generator: many devices in a process of its own, as light as can be, for it shares the machine."""
