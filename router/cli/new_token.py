"""`titleshot token`: make a token for the admin port."""

from __future__ import annotations

import click

from router.cli.output import json_option, print_json
from router.control.admin.actors import ActorRole, new_token


@click.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in ActorRole]),
    multiple=True,
    required=True,
    help="What its owner may do; repeatable.",
)
@json_option
def token(name: str, roles: tuple[str, ...], *, as_json: bool) -> None:
    """Make a token for NAME, shown once; only its hash goes into the tokens file (`tokens:` in the settings).

    The entry for the tokens file goes to standard output, the token itself to standard error:
    `titleshot token ci --role labeller >> tokens.yaml`.
    """
    try:
        made = new_token(name, [ActorRole(role) for role in roles])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json({"name": name, "roles": list(roles), "token": made.token, "entry": made.line})
        return
    click.echo("The token, for its owner; it is not shown again:", err=True)
    click.echo(f"  {made.token}", err=True)
    click.echo("Its entry for the tokens file:", err=True)
    click.echo(made.line)
