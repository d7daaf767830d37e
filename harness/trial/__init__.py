"""One trial, from a running target to a verdict. Nothing here knows a concrete class of any seam."""
