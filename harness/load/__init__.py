"""Open-loop load: arrivals come when they come, and are timed from when they were due."""
