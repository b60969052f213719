"""What `doctor` finds: the wire, the clock, somebody who inspects it, and what lies in the home."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.federation.connect_proxy import connect_proxy

from reidscope_protocols.enrolment import Addresses, certificate_sha256
from reidscope_protocols.errors import StaleError, UnreachableError
from reidscope_site import doctor
from reidscope_site.config import Home
from reidscope_site.doctor import examine
from reidscope_site.proxy import channel_options, proxy_for
from reidscope_site.reach import check_clock, check_port


class Authority:
    """A CA in the test's hand, and what it issues."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self._certificate(name, self.key, is_ca=True)

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, private = self.folder / f"{name}.crt", self.folder / f"{name}.pem"
        certificate.write_text(self._certificate(name, key, is_ca=False))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, private

    def _certificate(self, name: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> str:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        now = datetime.now(UTC)
        local = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(local, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca", "the pinned CA")


@contextmanager
def answering(
    issuer: Authority, clients: Authority, date: Callable[[], str] | None
) -> Iterator[str]:
    """Be a coordinator's HTTPS port for the block, with a clock of the test's choice."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(404)
            if date is not None:
                self.send_header("date", date())
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issuer.issue("localhost"))
    context.load_verify_locations(cadata=clients.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # refused handshakes are the point
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def now_and(seconds: float) -> Callable[[], str]:
    return lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def own(authority: Authority) -> dict[str, Any]:
    certificate, key = authority.issue("north")
    return {"ca_pem": authority.pem, "certificate": certificate, "key": key}


@pytest.mark.parametrize("seconds", [0, 290, -290])
def test_a_coordinator_whose_clock_is_near_is_fine(authority: Authority, seconds: float) -> None:
    with answering(authority, authority, now_and(seconds)) as address:
        check_port(address, **own(authority))
        check_clock(address, **own(authority))


@pytest.mark.parametrize(
    ("seconds", "said"), [(3600, "got 3(600|599) s behind"), (-3600, "got 360[0-9] s ahead of")]
)
def test_a_clock_that_is_off_is_said_with_got_and_expected(
    authority: Authority, seconds: float, said: str
) -> None:
    with (
        answering(authority, authority, now_and(seconds)) as address,
        pytest.raises(StaleError, match=f"clock: {said} .*expected at most 300 s"),
    ):
        check_clock(address, **own(authority))


@pytest.mark.parametrize("date", [None, lambda: "yesterday, more or less"])
def test_an_answer_without_a_clock_is_none(
    authority: Authority, date: Callable[[], str] | None
) -> None:
    with (
        answering(authority, authority, date) as address,
        pytest.raises(UnreachableError, match="without a date"),
    ):
        check_clock(address, **own(authority))


def test_whoever_inspects_the_wire_is_named(authority: Authority, tmp_path: Path) -> None:
    inspector = Authority(tmp_path / "inspector", "Hospital Inspection CA\x1b[2J")
    with (
        answering(inspector, inspector, now_and(0)) as address,
        pytest.raises(UnreachableError, match="Hospital Inspection CA") as caught,
    ):
        check_port(address, **own(authority))
    assert str(caught.value).isprintable()
    assert "one by the pinned CA" in str(caught.value)


def test_nobody_there_is_said_in_one_line(authority: Authority) -> None:
    with pytest.raises(UnreachableError, match="got no connection"):
        check_port("localhost:1", **own(authority))


def test_a_site_that_is_not_taken_is_told_so(authority: Authority, tmp_path: Path) -> None:
    strangers = Authority(tmp_path / "strangers", "another CA")
    mine = {**own(strangers), "ca_pem": authority.pem}
    with (
        answering(authority, authority, now_and(0)) as address,
        pytest.raises(UnreachableError, match="no word on this site"),
    ):
        check_clock(address, **mine)


def test_the_proxy_is_used_and_its_refusal_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def knows_alice(head: str) -> bool:
        return "Proxy-Authorization: Basic YWxpY2U6cCB3" in head  # alice:p w

    with answering(authority, authority, now_and(0)) as address:
        with connect_proxy(knows_alice) as proxy:
            with_user = proxy.address.replace("//", "//alice:p%20w@")
            monkeypatch.setenv("HTTPS_PROXY", with_user)
            check_port(address, **own(authority))
            check_clock(address, **own(authority))
            assert list(proxy.through) == [address]
            monkeypatch.setenv("HTTPS_PROXY", proxy.address)
            with pytest.raises(UnreachableError, match="lets nobody through") as caught:
                check_port(address, **own(authority))
            assert "alice" not in str(caught.value)
            monkeypatch.setenv("NO_PROXY", "localhost")
            check_port(address, **own(authority))
        monkeypatch.delenv("NO_PROXY")
        with pytest.raises(UnreachableError, match="lets nobody through"):
            check_port(address, **own(authority))


def test_the_variables_are_read_in_both_spellings_and_no_proxy_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert proxy_for("coordinator.example:8442") == ""
    assert channel_options("coordinator.example:8442") == [("grpc.enable_http_proxy", 0)]
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        with monkeypatch.context() as one:
            one.setenv(name, "http://proxy.example:3128")
            assert proxy_for("coordinator.example:8442") == "http://proxy.example:3128"
            assert channel_options("a:1") == [("grpc.http_proxy", "http://proxy.example:3128")]
            one.setenv("NO_PROXY", ".example")
            assert proxy_for("coordinator.example:8442") == ""


@pytest.fixture
def enrolled(home: Home, authority: Authority, coordinator: Any) -> Callable[[str], Home]:
    """A home whose pinned coordinator's ports are where the test says."""

    def build(address: str) -> Home:
        addresses = Addresses(enrolment=address, control=address, fleet=address)
        pinned = coordinator.pinned.model_copy(
            update={
                "addresses": addresses,
                "ca_pem": authority.pem,
                "ca_sha256": certificate_sha256(authority.pem),
            }
        )
        home.coordinator_file.unlink()
        pinned.save(home.coordinator_file)
        certificate, key = authority.issue("north")
        shutil.copy(certificate, home.key("transport.crt"))
        home.key("transport.pem").write_bytes(key.read_bytes())
        return home

    return build


def unwell(home: Home, *, offline: bool = True) -> list[str]:
    return [one.what for one in examine(home, offline=offline) if not one.fine]


def test_doctor_looks_at_both_ports_and_the_clock(
    enrolled: Callable[[str], Home], authority: Authority
) -> None:
    with answering(authority, authority, now_and(0)) as address:
        home = enrolled(address)
        fine = [one.what for one in examine(home) if one.fine]
        assert {"coordinator's control port", "coordinator's fleet port"} <= set(fine)
        assert "clock, against the coordinator's" in fine
    assert (
        sum(
            what.startswith("coordinator: got no connection")
            for what in unwell(home, offline=False)
        )
        == 3
    )
    assert not [what for what in unwell(home) if what.startswith("coordinator: got")]


def replaced(home: Home, old: str, new: str) -> None:
    for file in (home.policy_file, home.site_file):
        file.write_text(file.read_text().replace(old, new))


def test_doctor_finds_what_would_stop_people_and_the_agent(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = unwell(home)
    replaced(home, 'exclude = ""', f'exclude = "{tmp_path / "none"}"')
    replaced(home, 'roles = ["data protection officer"]', 'roles = {"dpo" = ["user:no-such-user"]}')
    home.hold_file.write_bytes(b"")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 << 20))
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["flwr==0.9.*; extra == 'site'"])
    found = sorted(set(unwell(home)) - set(before))
    words = ("agent: got a site that was stopped", "disk: got 5 MiB", "exclude file: got no",
             "installed flwr: got 1.", "policy.toml: got 1 users or groups")  # fmt: skip
    assert len(found) == len(words)
    assert all(said.startswith(word) for said, word in zip(found, words, strict=True))
    assert all(": got " in said and ", expected " in said for said in found)


def test_a_home_whose_policy_is_broken_is_examined_to_the_end(home: Home) -> None:
    home.policy_file.write_text("declared_people = 0")
    found = examine(home, offline=True)
    assert any("policy.toml" in one.what for one in found if not one.fine)
    assert found[-1].what
