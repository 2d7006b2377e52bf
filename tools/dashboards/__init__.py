"""The Grafana dashboards of Parley, as code."""
