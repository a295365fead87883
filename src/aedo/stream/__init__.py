"""Recognition while the audio still comes in."""
