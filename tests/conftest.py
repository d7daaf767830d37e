"""What all tests need."""

from __future__ import annotations

import signal

# A job that a shell has put into the background ignores Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
