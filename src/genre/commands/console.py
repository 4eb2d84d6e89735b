"""The command that opens the console for a service that runs elsewhere."""

from __future__ import annotations

import socket

import click

from genre.errors import ConfigError, GenreError


@click.command()
@click.argument("url", metavar="URL")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Port of the console.")
def console(url: str, *, port: int) -> None:
    """Look into the service at a URL from a console of its own.

    A service shows the same console itself, at /console, unless serve.console is false. This one listens at 127.0.0.1
    and asks the service as any client would; where the service wants a key, the console asks for it. Session cookies
    are signed by what the environment variable GENRE_CONSOLE_SECRET holds, else by a secret that is made at each start.

    \b
      genre console http://127.0.0.1:8080
      genre console https://recommend.example.com --port 9000
    """
    address = url.rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise GenreError(f"{url}: give the address of a service, as in http://127.0.0.1:8080")
    try:
        import uvicorn

        from genre.console.mounting import alone
    except ModuleNotFoundError as error:
        raise ConfigError([f"{error.name} is not installed; pip install 'genre-recommender[console]'"]) from error
    app = alone(address)
    try:
        bound = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise GenreError(f"cannot listen at port {port} ({error.strerror}); set --port, or --port 0") from error
    with bound:
        click.echo(f"console http://127.0.0.1:{bound.getsockname()[1]}/console   (of {address})")
        config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False, proxy_headers=False)
        uvicorn.Server(config).run([bound])
