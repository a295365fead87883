"""Tags for fine-tuning from a checkpoint (`aedo train NAME --from RUN`)."""
