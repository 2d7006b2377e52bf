"""The terminal messenger: a model on top of the SDK, and widgets that use the model and no network."""
