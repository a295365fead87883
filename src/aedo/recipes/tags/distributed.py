"""Tags for training on several devices."""
