"""The building blocks of every Parley service, independent of the messenger."""
