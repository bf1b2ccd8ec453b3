"""nginx in front of a web process, with the configuration that ships: ``deploy/nginx.conf``."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import TracebackType

import pytest

from tests.support.tls import Authority
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from worker.local.child import Child
from worker.local.servers.port import free_port

# Debian has it where only root looks.
PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(PROGRAM is None, reason="needs Debian's package nginx")

_MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/threadsync.conf;
}}
"""


class Nginx:
    """Listens when it is entered, and is gone when it is left. ``ca`` is the file that trusts it."""

    child: Child

    def __init__(self, folder: Path, upstream_port: int) -> None:
        self._folder = folder
        self.port = free_port()
        authority = Authority(folder)
        self.ca = authority.ca
        certificate = authority.issue("server")
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        for ours, theirs in (
            ("server 127.0.0.1:3000;", f"server 127.0.0.1:{upstream_port};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"),
            # Not on every address of this machine.
            ("    listen [::]:443 ssl;\n", ""),
            ("/etc/ssl/threadsync.pem", str(certificate.certfile)),
            ("/etc/ssl/threadsync.key", str(certificate.keyfile)),
        ):
            assert ours in text, f"deploy/nginx.conf has no {ours}"
            text = text.replace(ours, theirs)
        (folder / "threadsync.conf").write_text(text)
        self.main = folder / "nginx.conf"
        self.main.write_text(_MAIN.format(folder=folder))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it has written."""
        return (self._folder / "nginx.log").read_text()

    def __enter__(self) -> Nginx:
        assert PROGRAM
        argv = [PROGRAM, "-c", str(self.main), "-p", str(self._folder), "-e", "stderr"]
        self.child = Child(argv, log_path=self._folder / "nginx.log", cwd=self._folder)
        try:
            wait_until(lambda: self._listens() or self.child.poll() is not None, "nginx listens", timeout=20)
            assert self.child.poll() is None, self.log
        except BaseException:
            self.child.kill()
            raise
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.kill()
