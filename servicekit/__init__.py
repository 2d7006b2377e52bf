"""What every Parley service is built from; it knows no messenger words."""
