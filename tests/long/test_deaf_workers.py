"""Workers that live and take nothing, the best-known failure of Celery on Redis, which no ping finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.slack_app import running_app
from tests.support.waiting import wait_until, wait_until_async
from tests.support.workers import ROOT, WorkerGroup

PROMISED_SECONDS = 60
ALL_WELL = dict.fromkeys(("sessions", "syncs", "maintenance", "lookups"), "ok")


def health(installation: Installation, *words: str) -> tuple[int, dict[str, Any]]:
    """Run ``threadsync health``; return its exit code and the state of each verdict."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "health", *words, "--json"],
        env={**installation.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, {name: said["state"] for name, said in json.loads(done.stdout).items()}


async def until_ready(http: Any, status: int, queues: dict[str, str]) -> None:
    """Wait until ``/readyz`` responds so, at most as long as is promised."""

    async def says_so() -> bool:
        answer = await http.get("/readyz")
        return (answer.status_code, answer.json()["queues"]) == (status, queues)

    await wait_until_async(says_so, f"/readyz answers {status}", PROMISED_SECONDS)


@pytest.mark.timeout(240)
async def test_a_worker_that_takes_nothing_is_seen_within_a_minute(installation: Installation) -> None:
    """Readiness and health report within a minute a worker that takes nothing, and one that stands still.

    The first one answers pings all the time. Once both take messages again, all is well.
    """
    with ExitStack() as stack:
        changeable = {"REMOTE_CONTROL_CHANGES": "true"}
        deaf = stack.enter_context(installation.worker("deaf", "--queues", "sessions", **changeable))
        frozen = stack.enter_context(installation.worker("frozen", "--queues", "syncs,maintenance,lookups"))
        beat = installation.beat()
        stack.callback(beat.kill)
        async with running_app(
            celery_broker_url=installation.broker_url, database_url=installation.database_url
        ) as app:
            await until_ready(app.http, 200, ALL_WELL)
            assert health(installation, "beat") == (0, {"beat": "ok"})
            code, verdicts = health(installation, "worker")
            assert (code, set(verdicts.values())) == (0, {"ok"})
            assert {name.partition("@")[0] for name in verdicts if "@" in name} == {"deaf", "frozen"}

            control = installation.celery.control
            node = next(name for name in verdicts if name.startswith("deaf@"))
            control.cancel_consumer("sessions", destination=[node])
            os.kill(frozen.pid, signal.SIGSTOP)
            try:
                await until_ready(app.http, 503, dict.fromkeys(ALL_WELL, "deaf"))
                assert control.ping(destination=[node], timeout=5), "it should be alive"
                # A worker's last question for messages may be a moment younger than the last canary.
                wait_until(
                    lambda: list(health(installation, "worker")[1].values()) == ["deaf"] * 6, "all are deaf"
                )
                assert health(installation, "worker")[0] == 1
            finally:
                os.kill(frozen.pid, signal.SIGCONT)
            control.add_consumer("sessions", destination=[node])
            await until_ready(app.http, 200, ALL_WELL)
            leaves_in_good_order(deaf, installation)


def leaves_in_good_order(worker: WorkerGroup, installation: Installation) -> None:
    """Stop a worker, and check that health does not miss it."""
    worker.stop()
    wait_until(
        lambda: not any(name.startswith("deaf@") for name in health(installation, "worker")[1]),
        "the worker is forgotten",
    )


def test_health_of_what_is_not_there(installation: Installation) -> None:
    """Health reports a worker and a beat that are not there as deaf, with exit code 1."""
    assert health(installation, "worker", "--node", "nobody@nowhere") == (1, {"nobody@nowhere": "deaf"})
    assert health(installation, "beat") == (1, {"beat": "deaf"})
