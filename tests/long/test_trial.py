"""The steps of deploy/try-compose, by processes instead of containers: its parts fit together."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import yaml

from tests.support.compose import compose_file, ours
from tests.support.documents import read
from tests.support.installation import Installation
from tests.support.production import python_path_without_sandbox
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from worker.local.child import Child
from worker.local.readiness import answers_http
from worker.local.servers.port import free_port

SECRET = "0123456789abcdef0123456789abcdef"


def test_a_signed_request_becomes_a_ticket(installation: Installation, tmp_path: Path) -> None:
    """The script's commands `serve`, `ask` and `ticket` turn a signed request into a ticket."""
    jira, slack, web = free_port(), free_port(), free_port()
    env = {
        **installation.env,
        "PYTHONPATH": str(ROOT),
        "SLACK_SIGNING_SECRET": SECRET,
        "SLACK_BOT_TOKEN": "xoxb-sandbox",
        "SLACK_API_URL": f"http://127.0.0.1:{slack}/api/",
        "JIRA_URL": f"http://127.0.0.1:{jira}",
        "JIRA_EMAIL": "bot@example.com",
        "JIRA_API_TOKEN": "sandbox",
        "JIRA_PROJECT_KEY": "PROJ",
    }

    def trial(*words: str) -> list[str]:
        return [sys.executable, "-m", "sandbox.trial", *words]

    in_image = {"PYTHONPATH": python_path_without_sandbox(tmp_path, ROOT)}
    with ExitStack() as stack:
        ports = (f"--jira-port={jira}", f"--slack-port={slack}")
        serve = [sys.executable, "-m", "handlers.serve", "--port", str(web)]
        for name, argv, more in (("sandboxes", trial("serve", *ports), {}), ("web", serve, in_image)):
            child = Child(argv, log_path=tmp_path / f"{name}.log", env={**env, **more}, cwd=tmp_path)
            stack.callback(child.kill)
        schedule = ("--beat", "--schedule", str(tmp_path / "beat"))
        jiras = {name: value for name, value in env.items() if name.startswith("JIRA_")}
        stack.enter_context(installation.worker("all", *schedule, **jiras))
        wait_until(lambda: answers_http(f"http://127.0.0.1:{web}/healthz"), "the web process answers", 30)
        url = f"http://127.0.0.1:{web}/slack/events"
        subprocess.run(trial("ask", "--url", url), env=env, check=True, timeout=60)
        asked = trial("ticket", f"--jira-port={jira}")
        done = subprocess.run(asked, env=env, check=True, timeout=120, capture_output=True, text=True)
    assert done.stdout.startswith("PROJ-")


def test_the_overrides_fit_the_file() -> None:
    """The overrides change only services of ours, and the script's steps name existing services."""
    added = yaml.safe_load(read("deploy/try-compose.yml").replace("${TRIAL_JIRA_EMAIL}", "x"))["services"]
    services = set(ours(compose_file()))
    assert {name for name in added if not name.startswith("sandbox-of-")} <= services
    modes = {service["network_mode"] for name, service in added.items() if name.startswith("sandbox-of-")}
    assert modes <= {f"service:{name}" for name in services}
    script = read("deploy/try-compose")
    subprocess.run(["/bin/sh", "-n", str(ROOT / "deploy" / "try-compose")], check=True)
    looked_at = script.partition("for service in ")[2].partition(";")[0].split()
    assert set(looked_at) <= services
    with_sandbox = {
        name
        for name, service in added.items()
        if "./sandbox:/opt/trial/sandbox:ro" in service.get("volumes", [])
    }
    assert with_sandbox == {name for name in added if name.startswith("sandbox-of-")}
    assert all(added[name]["environment"]["PYTHONPATH"] == "/opt/trial" for name in with_sandbox)
    asked = set(re.findall(r"^compose exec -T (\S+) python -m sandbox", script, re.MULTILINE))
    assert asked == with_sandbox
