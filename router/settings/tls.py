"""`tls:` blocks: what the data port shows its clients, and how model servers are trusted."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from router.link.endpoint import ListenTls, Tls, client_context, server_context
from router.settings.block import Block, Text, wrong, wrong_at

CHECK_FILES = "check_files"
"""In the context of a validation: the files must be there, and be what they should be. Kept settings are not checked
again: a certificate that has gone since must not keep the last good ones from being used."""


def _absolute(name: str, info: ValidationInfo) -> str:
    context = info.context if isinstance(info.context, dict) else {}
    path = (FilePath(context.get("directory", "")) / name).absolute()
    if context.get(CHECK_FILES):
        try:
            path.open("rb").close()
        except OSError as error:
            raise wrong(f"expected a PEM file: {path}: {error.strerror}") from None
    return str(path)


PemFile = Annotated[Text, AfterValidator(_absolute)]
"""A file's path, made absolute: relative to the settings file."""


def _checks(info: ValidationInfo) -> bool:
    return isinstance(info.context, dict) and bool(info.context.get(CHECK_FILES))


class ListenTlsSettings(Block):
    """TLS on the data port (1.2 or newer). The files are read again when they change."""

    certificate: PemFile = Field(description="PEM file with the certificate, and the chain to its issuer after it.")
    key: PemFile = Field(description="PEM file with its private key, without a passphrase.")
    client_ca: PemFile | None = Field(
        default=None, description="PEM file with who signs clients' certificates; then every client must show one."
    )

    @model_validator(mode="after")
    def _usable(self, info: ValidationInfo) -> Self:
        if _checks(info):
            try:
                server_context(self.tls())
            except OSError as error:
                raise wrong_at(
                    [(("certificate",), f"expected a certificate, its key and CAs in PEM: {error}")]
                ) from None
        return self

    def tls(self) -> ListenTls:
        """As the proxies get it."""
        return ListenTls(self.certificate, self.key, self.client_ca or "")


class TlsSettings(Block):
    """TLS to the model servers with https:// endpoints (1.2 or newer; certificates are always verified)."""

    ca: PemFile | None = Field(
        default=None, description="PEM file with who signs the servers' certificates. Default: whom the system trusts."
    )
    certificate: PemFile | None = Field(default=None, description="PEM file with the certificate that we show.")
    key: PemFile | None = Field(default=None, description="PEM file with its private key, without a passphrase.")
    server_name: Text | None = Field(
        default=None, description="The name that the servers' certificates bear. Default: the endpoint's host."
    )

    @model_validator(mode="after")
    def _usable(self, info: ValidationInfo) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise wrong_at([(("certificate",), "expected both certificate and key, or neither")])
        if _checks(info):
            try:
                client_context(self.tls())
            except OSError as error:
                at: Any = ("ca",) if self.ca is not None else ("certificate",)
                raise wrong_at([(at, f"expected certificates and their key in PEM: {error}")]) from None
        return self

    def tls(self) -> Tls:
        """As proxies and probes get it."""
        return Tls(self.ca or "", self.certificate or "", self.key or "", self.server_name or "")
