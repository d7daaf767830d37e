"""What the stand-ins' models say, whichever the protocol."""

from __future__ import annotations

from typing import Any, Final

ABSTENTION: Final[dict[str, Any]] = {
    "root_cause": "the stand-in was told no answer",
    "remediation": "",
    "edits": [],
    "verification": [],
    "confidence": 0.0,
    "abstain": True,
}
BROKEN: Final = '{"root_cause": 7}'  # JSON, but not of the schema
HALF: Final = '{"root_cause": "the pool is too small, and'  # where the limit of tokens cut it off
ECHO: Final = "The key <the key> is not valid."  # see server.KEY
