"""An authority of the tests' own, and TLS in front of servers that have none."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    certfile: Path
    keyfile: Path


class Authority:
    """Signs certificates; ``ca`` is the file that trusts them. Skips the test where there is no openssl."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ca.pem"
        self._openssl(
            *("req", "-x509", *_NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem"),
            *("-days", "2", "-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign"),
        )

    def issue(self, name: str, subject: str = "IP:127.0.0.1,DNS:localhost") -> Certificate:
        """A certificate for a server of these names, or for the client ``name``."""
        certfile, keyfile = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        self._openssl(
            *("req", *_NEW_KEY, "-keyout", keyfile.name, "-out", f"{name}.csr", "-subj", f"/CN={name}"),
        )
        (self.directory / f"{name}.names").write_text(f"subjectAltName={subject}\n")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", f"{name}.names", "-out", certfile.name),
        )
        return Certificate(certfile, keyfile)

    def query(self, client: Certificate | None = None) -> str:
        """The query of an address that trusts this authority and shows the client's certificate."""
        shown = f"&ssl_certfile={client.certfile}&ssl_keyfile={client.keyfile}" if client else ""
        return f"ssl_ca_certs={self.ca}{shown}"

    def _openssl(self, *arguments: str) -> None:
        program = shutil.which("openssl")
        if program is None:
            pytest.skip("no openssl program to make certificates with")
        subprocess.run([program, *arguments], cwd=self.directory, check=True, capture_output=True)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class TlsFront:
    """TLS before a server that has none: the wheel's Valkey is built without. The handshake is a real one.

    Args:
        behind: the server's port.
        clients_of: the authority without whose certificate no client is let in.
    """

    def __init__(self, certificate: Certificate, behind: int, clients_of: Path | None = None) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients_of)
        self._context.load_cert_chain(certificate.certfile, certificate.keyfile)
        if clients_of:
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.refused = 0
        self.accepted = 0
        threading.Thread(target=self._accept, name="tls-front", daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), name="tls-client", daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(5)
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            self.refused += 1
            plain.close()
            return
        self.accepted += 1
        client.settimeout(None)
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._behind), timeout=5)
            except OSError:
                return
            server.settimeout(None)
            with server:
                back = threading.Thread(target=_pump, args=(server, client), name="tls-back", daemon=True)
                back.start()
                _pump(client, server)
                back.join()

    def close(self) -> None:
        # Wakes accept(), which close() alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
