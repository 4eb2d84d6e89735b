"""Which pages there are."""

from __future__ import annotations

from collections.abc import Callable

from genre.console.calling import Caller
from genre.console.experiments import experiments
from genre.console.frame import PAGES, Console, key_page, register
from genre.console.items import items
from genre.console.jobs import jobs
from genre.console.models import model, models
from genre.console.overview import overview
from genre.console.settings import settings
from genre.console.trying import trying


def register_all(caller: Callable[[str | None, str | None], Caller]) -> Console:
    """Make all pages, for the API that ``caller`` gives."""
    console = Console(caller)
    for name, body in (
        ("overview", overview),
        ("try", trying),
        ("items", items),
        ("experiments", experiments),
        ("models", models),
        ("jobs", jobs),
        ("settings", settings),
    ):
        register(console, PAGES[name], name, body)
    register(console, "/models/{name}", "models", model)
    key_page(console)
    return console
