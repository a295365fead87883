"""aedo: attention encoder-decoder + CTC speech recognition in plain PyTorch."""

__version__ = "0.1.0"
