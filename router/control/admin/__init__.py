"""The admin port: API, metrics, health; who may ask for what."""

from router.control.admin.access import Access
from router.control.admin.actors import ActorRole, NewToken, new_token
from router.control.admin.app import admin_app
from router.control.admin.operations import Operations, UnknownModel
from router.control.admin.serve import CannotListen, serve_admin
from router.control.admin.tokens import Tokens, TokensError

__all__ = [
    "Access",
    "ActorRole",
    "CannotListen",
    "NewToken",
    "Operations",
    "Tokens",
    "TokensError",
    "UnknownModel",
    "admin_app",
    "new_token",
    "serve_admin",
]
