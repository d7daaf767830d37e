"""AWS's own clients, made in one place."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from harness.errors import InputError, install
from harness.fixing.address import is_loopback


def client(service: str, region: str | None = None) -> Any:  # noqa: ANN401 - boto3 publishes no types
    """boto3's client, with what the environment says. InputError where boto3 is missing, or there is no region."""
    if find_spec("boto3") is None:
        raise InputError("AWS's client is missing", cure=install("aws"))
    import boto3  # noqa: PLC0415 - an extra, and slow to import
    from botocore.config import Config  # noqa: PLC0415 - the same
    from botocore.exceptions import NoRegionError  # noqa: PLC0415 - the same

    try:
        made = boto3.client(service, region_name=region)
    except NoRegionError:
        raise InputError("no region of AWS is named", cure="set AWS_DEFAULT_REGION, or region: in the file") from None
    if not is_loopback(urlsplit(made.meta.endpoint_url).hostname or ""):
        return made
    # a stand-in: it has no names below its own, as some operations want
    return boto3.client(service, region_name=region, config=Config(inject_host_prefix=False))
