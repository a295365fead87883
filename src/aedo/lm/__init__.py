"""Language models over a recogniser's labels."""
