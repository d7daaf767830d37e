"""Search by Backboard.io: its assistant's memories give scores, its documents an analysis."""
