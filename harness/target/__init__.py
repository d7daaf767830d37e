"""The app under test: started with all it needs, read, patched and redeployed while users come."""
