"""Signing in and out. The signed cookie carries the user's id and nothing else."""

from __future__ import annotations

from flask import Blueprint
from flask import session as cookie
from pydantic import BaseModel, Field
from sqlalchemy import select

from shop import inputs, passwords
from shop.db import session
from shop.errors import ApiError
from shop.models import User

blueprint = Blueprint("auth", __name__)


class Credentials(BaseModel):
    email: str = Field(max_length=200, pattern=r"^[^\s\x00]+@[^\s\x00]+$")
    password: str = Field(min_length=1, max_length=200)


def current_user_id() -> int:
    """Raises ApiError (401) when nobody is signed in."""
    user_id = cookie.get("user_id")
    if not isinstance(user_id, int):
        raise ApiError(401, "unauthenticated", "sign in first: POST /login")
    return user_id


def as_json(user: User) -> dict[str, object]:
    return {"id": user.id, "email": user.email, "name": user.name}


@blueprint.post("/login")
def login() -> dict[str, object]:
    credentials = inputs.body(Credentials)
    user = session().scalar(select(User).where(User.email == credentials.email))
    if not passwords.matches(user.password_hash if user else None, credentials.password) or user is None:
        raise ApiError(401, "wrong_credentials", "the e-mail address or the password is wrong")
    cookie.clear()
    cookie["user_id"] = user.id
    cookie.permanent = True
    return {"user": as_json(user)}


@blueprint.post("/logout")
def logout() -> tuple[str, int]:
    cookie.clear()
    return "", 204


@blueprint.get("/me")
def me() -> dict[str, object]:
    user = session().get(User, current_user_id())
    if user is None:
        cookie.clear()
        raise ApiError(401, "unauthenticated", "this account is gone")
    return {"user": as_json(user)}
