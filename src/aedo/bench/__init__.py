"""How fast, and how near the machine's limit: work counted from shapes, throughput measured, time by parts."""
