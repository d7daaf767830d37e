"""What goes wrong on purpose. Each fault is a context manager: left, it is off again."""
