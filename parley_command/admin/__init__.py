"""The commands `parley admin …`, with which operators look at the servers of a deployment and control them."""
