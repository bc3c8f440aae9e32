"""The demo from its first line to its last: everything is started, shown, judged and taken down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

import sagas
from examples.demo.ending import mistakes, show_figures, show_next, show_trace
from examples.demo.ground import Ground, ground
from examples.demo.play import PATIENCE_S, Outcome, play
from examples.demo.screen import Screen


def show(console: Console, on_up: Callable[[], None]) -> int:
    """Runs the demo; 0 when every figure is right, else 1. ``on_up`` is called when Ray has started."""
    try:
        return _show(Screen(console), on_up)
    except TimeoutError:
        return _failed(f"sagas did not end within {PATIENCE_S:g} s; that is a bug, unless this machine is very busy")
    except ExceptionGroup as group:
        return _failed(f"{type(group.exceptions[0]).__name__}: {group.exceptions[0]}")
    except (sagas.SagaError, OSError, RuntimeError) as error:
        return _failed(str(error))


def _show(screen: Screen, on_up: Callable[[], None]) -> int:
    screen.say("13 years of 100 traffic fines and 2 years of 24 subscriptions, on a cluster that will be hit", "bold")
    with ground(screen.say) as standing:
        on_up()
        screen.say("everything is up")
        outcome = asyncio.run(_play(standing, screen))
    show_figures(screen.console, outcome)
    screen.say("everything is taken down, nothing is left behind")
    if mistakes(outcome):
        return 1
    show_next(screen.console)
    return 0


async def _play(standing: Ground, screen: Screen) -> Outcome:
    async with await sagas.connect(standing.url) as client:
        with screen:
            outcome = await play(standing, screen, client)
        await show_trace(screen.console, client, outcome.refused)
    return outcome


def _failed(message: str) -> int:
    Console(stderr=True, highlight=False).print(Text(f"demo: {message}", "red"), soft_wrap=True)
    return 1
