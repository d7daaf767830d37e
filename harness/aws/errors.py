"""What AWS's client raises, as an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import ServiceUnavailable

_CURE = "check region, credentials, and what the role may do"


@contextmanager
def explained(what: str) -> Iterator[None]:
    """ServiceUnavailable, with AWS's own words; ``what`` was tried, such as "ECS, update_service"."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra, and slow to import

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise ServiceUnavailable(f"{what}: {error}", cure=_CURE) from error
