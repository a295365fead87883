"""Tags for the initialisation of parameters."""
