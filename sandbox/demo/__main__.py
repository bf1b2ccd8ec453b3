"""Command line of ``threadsync demo``: ``python -m sandbox.demo``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sandbox.demo.outcome import Outcome, made_by_us, show_checks, show_sessions
from sandbox.demo.story import OTHER, Story, tell
from sandbox.demo.stream import Tally, send
from sandbox.jira.faults import (
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Hang,
    RandomFaults,
    Throttle,
)
from sandbox.jira.issues import Draft
from sandbox.jira.server import JiraSandbox
from sandbox.jira.site import JiraSite
from sandbox.playground.app import Place, Playground
from sandbox.playground.server import PlaygroundServer
from sandbox.playground.workers import KillableWorkers
from sandbox.slack.server import SlackSandbox
from threadsync.errors import ThreadsyncError
from worker.cli.output import speak_any_locale
from worker.cli.stop_request import StopRequest
from worker.db.pool import Pool, new_pool
from worker.local.data_dir import default_data_dir
from worker.local.sandboxed import real_settings, sandbox_settings
from worker.local.servers.port import free_port
from worker.local.service import Service
from worker.local.services import PLAYGROUND_PORT
from worker.local.stack import LocalStack

_KILL_AT: Final = (0.3, 0.45, 0.65)
_SETTLE_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.1
# Settings of a real Slack or Jira in the shell must not be used with the sandboxes.
_REAL_SERVICES: Final = ("SLACK_", "JIRA_")
_FAULTS: Final = (
    (CommitThenDrop(), 0.1),
    (CommitThenStatus(503), 0.08),
    (Hang(10, committed=True), 0.04),
    (DropBeforeCommit(), 0.04),
    (Throttle(1), 0.04),
)


class Demo:
    """One run of the demo: its story, the local stack, the sandboxes and the counts."""

    def __init__(
        self,
        console: Console,
        stack: LocalStack,
        slack: SlackSandbox,
        jira: JiraSandbox,
        story: Story,
        news: Sequence[str],
    ) -> None:
        self._console = console
        self._stack = stack
        self._slack = slack
        self._jira = jira
        self._story = story
        self._tally = Tally()
        self._killed: list[str] = []
        self._news = news

    def run(self, pool: Pool, cancelled: Callable[[], bool]) -> bool:
        """Run the demo; return whether every check holds."""
        outcome = Outcome(self._story, pool, self._stack.urls.broker_of_all, self._slack, self._jira)
        letters_before = outcome.dead_letters()
        log = self._stack.logs / "worker.log"
        log_start = log.stat().st_size
        self._stream(outcome, cancelled)
        if cancelled():
            return False
        checks = list(outcome.checks(self._tally, letters_before))
        show_sessions(self._console, outcome.sessions())
        with log.open("rb") as file:
            file.seek(log_start)
            said = file.read().decode(errors="replace")
        self._show_events(outcome, said)
        show_checks(self._console, checks)
        return all(check.holds for check in checks)

    def _stream(self, outcome: Outcome, cancelled: Callable[[], bool]) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        steps = self._story.steps
        with Progress(*columns, console=self._console) as progress:
            bar = progress.add_task("Slack sends", total=len(steps))
            sender = threading.Thread(target=self._send, args=(lambda: progress.advance(bar),), daemon=True)
            sender.start()
            for part, kill in zip(_KILL_AT, self._kills(outcome, progress, cancelled), strict=True):
                enough = part * len(steps)
                _wait(partial(_has_sent, progress, bar, enough, sender), cancelled)
                kill()
            _wait(lambda: not sender.is_alive(), cancelled)
            self._settle("Commands settle", outcome.unfinished, progress, cancelled)
            self._settle("Tickets", outcome.without_ticket, progress, cancelled)

    def _send(self, on_answer: Callable[[], None]) -> None:
        secret = self._stack.env["SLACK_SIGNING_SECRET"]
        url = f"{self._stack.urls.web}/slack/events"
        asyncio.run(send(self._story.steps, url, secret, on_answer, self._tally))

    def _kills(
        self, outcome: Outcome, progress: Progress, cancelled: Callable[[], bool]
    ) -> tuple[Callable[[], None], ...]:
        kill_worker = partial(self._kill_a_busy_worker, outcome, progress, cancelled)
        return kill_worker, partial(self._kill_while_tickets_are_made, progress, cancelled), kill_worker

    def _kill_a_busy_worker(
        self, outcome: Outcome, progress: Progress, cancelled: Callable[[], bool]
    ) -> None:
        worker = self._stack.supervisor["worker"]
        left_behind = outcome.in_workers()
        # `is_up` too: it may have commands before the supervisor has seen that it is back.
        _wait(lambda: self._is_up(worker) and outcome.in_workers() - left_behind, cancelled, 5)
        pid, in_hand = worker.pid, outcome.in_workers() - left_behind
        worker.kill()
        self._killed.append("worker")
        progress.console.print(
            f"[red]kill -9[/] worker {pid} and its children, with {len(in_hand)} commands in hand"
        )

    def _kill_while_tickets_are_made(self, progress: Progress, cancelled: Callable[[], bool]) -> None:
        worker, made = self._stack.supervisor["syncs"], len(self._jira.site.issues)
        _wait(lambda: len(self._jira.site.issues) > made, cancelled, 5)
        pid = worker.pid
        worker.kill()
        self._killed.append("syncs")
        progress.console.print(f"[red]kill -9[/] syncs {pid} and its children, which make tickets")

    def _is_up(self, worker: Service) -> bool:
        return "worker" not in self._killed or f"worker is back as process {worker.pid}" in self._news

    def _settle(
        self, what: str, unfinished: Callable[[], int], progress: Progress, cancelled: Callable[[], bool]
    ) -> None:
        """Wait for the rest: a killed worker's commands return after 10 s, its syncs after their lease."""
        most = unfinished()
        bar = progress.add_task(what, total=max(most, 1))

        def is_settled() -> bool:
            nonlocal most
            left = unfinished()
            most = max(most, left, 1)
            progress.update(bar, total=most, completed=most - left)
            return left == 0

        _wait(is_settled, cancelled, _SETTLE_SECONDS)

    def _show_events(self, outcome: Outcome, worker_log: str) -> None:
        table = Table(title="What happened", title_justify="left", show_header=False)
        table.add_row("requests from Slack", str(self._tally.requests))
        table.add_row("… of them delivered again", str(self._tally.redelivered))
        table.add_row("… of them a mention's second event", str(self._tally.doubles))
        table.add_row("commands that changed nothing: duplicates", str(worker_log.count("outcome=unchanged")))
        table.add_row("commands that came too late: stale", str(worker_log.count("outcome=stale")))
        table.add_row("pauses for a session that was not there yet", str(worker_log.count("task waits")))
        table.add_row("workers killed by SIGKILL", str(len(self._killed)))
        table.add_row("commands recovered from them", str(worker_log.count("task delivered again")))
        table.add_row("replies in Slack", str(outcome.replies().total()))
        table.add_row("tickets in Jira", str(len(made_by_us(self._jira.site))))
        for fault, count in self._jira.site.met.most_common():
            table.add_row(f"… Jira's answer spoilt: {fault}", str(count))
        self._console.print(table)


def main(
    threads: Annotated[int, typer.Option(min=1, max=1000, help="How many Slack threads.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = 1,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where data and logs are. Default: below XDG_DATA_HOME.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
) -> None:
    """Turn Slack requests into rows and tickets, while workers are killed and Jira loses its responses."""
    console = Console(highlight=False)
    folder = data_dir or default_data_dir().with_name("threadsync-demo")
    try:
        holds = _demo(console, folder, tell(threads, int(time.time()), seed), keep=keep)
    except ThreadsyncError as exc:
        console.print(f"threadsync: {exc}", markup=False)
        raise typer.Exit(1) from exc
    if not holds:
        raise typer.Exit(1)


def _demo(console: Console, folder: Path, story: Story, *, keep: bool) -> bool:
    env = {name: value for name, value in os.environ.items() if not name.startswith(_REAL_SERVICES)}
    news: list[str] = []

    def report(sentence: str) -> None:
        news.append(sentence)
        console.print(sentence, style="dim", markup=False)

    with StopRequest() as request, SlackSandbox() as slack, JiraSandbox(_demo_jira(story)) as jira:
        stack = LocalStack(
            folder,
            env={**env, **_env_of(slack, jira), "LOG_FORMAT": "text"},
            with_metrics=False,
            kind="sandbox",
            report=report,
            hurried=request.urgent,
        )
        try:
            with console.status("Starting Postgres, Valkey, worker, web process and Flower …"):
                stack.start(request.wanted)
            console.print(
                f"Flower shows it live: {stack.urls.flower} (password in {stack.env_file})", soft_wrap=True
            )
            with new_pool(stack.urls.database) as pool:
                holds = Demo(console, stack, slack, jira, story, news).run(pool, request.wanted)
            if keep and not request.wanted():
                _keep(console, stack, slack, jira, request.wanted)
        finally:
            stack.stop()
    console.print(f"Logs: {stack.logs}", soft_wrap=True)
    console.print(f"To look around, Flower included: threadsync up --data-dir {stack.path}", soft_wrap=True)
    if request.wanted() and not keep:
        console.print("Interrupted.")
        return False
    return holds


def _keep(
    console: Console,
    stack: LocalStack,
    slack: SlackSandbox,
    jira: JiraSandbox,
    cancelled: Callable[[], bool],
) -> None:
    """Leave all of it running, with the playground on the same Slack and Jira.

    Beside settings of real services there is no playground, though the demo uses none of Slack's and Jira's.
    """
    with contextlib.ExitStack() as until_the_end:
        if real := real_settings(os.environ):
            console.print(f"There is no playground beside real services: unset {', '.join(real)}.")
        else:
            port = free_port(PLAYGROUND_PORT)
            place = Place(port, f"{stack.urls.web}/slack/events", jira.url)
            workers = KillableWorkers(lambda name: stack.supervisor[name].pid)
            playground = Playground(
                slack, jira.site, place, stack.env["SLACK_SIGNING_SECRET"], workers=workers
            )
            until_the_end.enter_context(PlaygroundServer(playground, port))
            console.print(f"Playground http://127.0.0.1:{port}/playground/", soft_wrap=True)
        console.print(f"Slack endpoint {stack.urls.web}, Flower {stack.urls.flower}. Ctrl-C ends it.")
        stack.supervisor.wait(cancelled)


def _demo_jira(story: Story) -> JiraSite:
    """Build a Jira whose search lags, and which drops, hangs, fails or refuses 30 % of the creates."""
    site = JiraSite(projects=("DEMO", OTHER), search_lag=2)
    last = 0
    # The tickets that users name: a thread is linked only to a ticket that Jira knows.
    for number in sorted(
        int(thread.jira_key.partition("-")[2]) for thread in story.threads if thread.jira_key
    ):
        site.skip_keys(number - last - 1, OTHER)
        site.commit(Draft(OTHER, "Task", "Made by hand"))
        last = number
    site.plan = RandomFaults(_FAULTS, seed=len(story.steps))
    return site


def _env_of(slack: SlackSandbox, jira: JiraSandbox) -> dict[str, str]:
    return sandbox_settings(
        slack_api_url=slack.api_url,
        slack_token=slack.token,
        jira_url=jira.url,
        jira_token=jira.token,
        project="DEMO",
    )


def _has_sent(progress: Progress, bar: TaskID, enough: float, sender: threading.Thread) -> bool:
    sent = next(task.completed for task in progress.tasks if task.id == bar)
    return sent >= enough or not sender.is_alive()


def _wait(ready: Callable[[], object], cancelled: Callable[[], bool], timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not ready() and not cancelled() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    speak_any_locale()
    sys.argv[0] = "threadsync demo"
    typer.run(main)
