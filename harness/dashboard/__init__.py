"""The live page: what happens to incidents, as it happens. A Flask app of its own process."""
