"""Secrets from AWS Secrets Manager: ``NAME_SECRET=ARN`` in the environment stands for ``NAME``.

``ARN#KEY`` takes one value out of a secret that is a JSON object, as ECS does with ``ARN:KEY::``.
"""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping

from harness.aws.errors import explained
from harness.errors import InputError

_SUFFIX = "_SECRET"
_ARN = "arn:aws"


def read_secrets(environ: MutableMapping[str, str] = os.environ) -> list[str]:
    """Each variable that is meant is set, unless it is set already. Their names.

    Other variables whose names end so, such as PAYMENTS_CLIENT_SECRET, are left alone: they hold no ARN. InputError
    where a secret has no such value, ServiceUnavailable where AWS does not hand it out.
    """
    wanted = {
        name.removesuffix(_SUFFIX): value
        for name, value in environ.items()
        if name.endswith(_SUFFIX) and value.startswith(f"{_ARN}:secretsmanager:") and name != _SUFFIX
    }
    missing = {name: value for name, value in wanted.items() if not environ.get(name)}
    if not missing:
        return []
    texts: dict[str, str] = {}
    for name, place in missing.items():
        arn, _, key = place.partition("#")
        if arn not in texts:
            texts[arn] = _text(arn)
        environ[name] = _value(texts[arn], key, name, arn)
    return sorted(missing)


def _text(arn: str) -> str:
    import boto3  # noqa: PLC0415 - an extra, and slow to import

    with explained(f"Secrets Manager, {arn}"):
        region = arn.split(":")[3]
        return str(boto3.client("secretsmanager", region_name=region).get_secret_value(SecretId=arn)["SecretString"])


def _value(text: str, key: str, name: str, arn: str) -> str:
    if not key:
        return text
    try:
        value = json.loads(text)[key]
    except (ValueError, KeyError, TypeError):
        cure = f'put it there, as {{"{key}": "..."}}'
        raise InputError(f"{name}{_SUFFIX}: the secret {arn} has no value {key}", cure=cure) from None
    return str(value)
