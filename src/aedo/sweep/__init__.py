"""Many experiments with one command: trained, recognised, and compared on one page."""
