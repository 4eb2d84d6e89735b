"""The command that lets a run answer over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genre.errors import ConfigError

if TYPE_CHECKING:
    from genre.servesection import ServeSection


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("settings", metavar="[SETTING=VALUE]...", nargs=-1)
@click.option("--host", metavar="ADDRESS", help="Address to listen at; one that others can reach needs keys.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen at; 0 takes a free one.")
@click.option("--store", metavar="ADDRESS", help="A file for SQLite, or postgresql://...; else store.db in the run.")
@click.option("--form", metavar="NAME", help="A form of the language model that 'genre compress' made.")
def serve(
    run_folder: Path,
    *,
    settings: tuple[str, ...],
    host: str | None,
    port: int | None,
    store: str | None,
    form: str | None,
) -> None:
    """Let a finished RUN answer over HTTP, and keep what people do.

    Recommendations, similar items, events, items, users, moderation, models, experiments: /v1/openapi.json lists all.
    SETTING=VALUE changes one of the section serve of the configuration. It ends, once what is under way is answered,
    when it is told to (Ctrl-C, SIGTERM).

    \b
      genre serve runs/quickstart
      genre serve runs/quickstart --port 0 deadline_ms=150 rate=50
      curl localhost:8080/v1/recommend -H 'content-type: application/json' -d '{"user_id": "42", "k": 5}'
    """
    from genre.run import Run
    from genre.stores import of_address

    given: dict[str, Any] = {"host": host, "port": port, "store": None if store is None else of_address(store)}
    options = {name: value for name, value in given.items() if value is not None}
    changed = changed_by(Run.open(run_folder).config.serve, settings, options)
    try:
        from genre.serve.server import serve as work
    except ModuleNotFoundError as error:
        raise ConfigError([f"{error.name} is not installed; pip install 'genre-recommender[serve]'"]) from error
    # A link such as runs/live/NAME stands for the run that it names today.
    work(run_folder.resolve(), changed, form, click.echo)


def changed_by(section: ServeSection, settings: tuple[str, ...], options: dict[str, Any]) -> ServeSection:
    """The section with some settings changed, as ``NAME=VALUE`` in YAML. Raises `ConfigError` naming the setting."""
    import yaml
    from pydantic import TypeAdapter, ValidationError

    from genre.component import suggest
    from genre.servesection import ServeSection

    plain: dict[str, Any] = TypeAdapter(ServeSection).dump_python(section, mode="json")
    for setting in settings:
        name, equals, value = setting.removeprefix("serve.").partition("=")
        if not equals or name not in plain:
            raise ConfigError([f"{setting}: write SETTING=VALUE; {suggest(name, list(plain))}"])
        plain[name] = yaml.safe_load(value)
    try:
        return TypeAdapter(ServeSection).validate_python({**plain, **options})
    except ValidationError as error:
        raise ConfigError(
            [f"serve.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        ) from error
