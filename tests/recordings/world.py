"""A small world of its own for recording: two hosts, one wire, reserved names, a private /etc.

Everything is made in new namespaces (network, mounts, processes, host name), so the machine outside is
neither changed nor seen. The clients' host and the servers' host are two network namespaces with a wire
of 1,500-byte frames between them. All checksums and segments are made in software: what is recorded is
what would travel.
"""

from __future__ import annotations

import ctypes
import datetime
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MARK = "VERMILION_RECORDING"
WORK = Path("/srv/recording")  # on a tmpfs that only this namespace sees
WIRE = "wire"
CLIENT, CLIENT6 = "192.0.2.10", "2001:db8::10"
NETS = [ip_network("203.0.113.0/24"), ip_network("2001:db8:1::/64")]

# Only names and addresses that are reserved for documentation.
HOSTS = {
    "www.example.com": ["203.0.113.10"],
    "www.example.org": ["203.0.113.11", "2001:db8:1::11"],
    "legacy.example.net": ["203.0.113.20"],
    "shell.example.net": ["203.0.113.22"],
    "api.example.org": ["203.0.113.30"],
    "git.example.net": ["203.0.113.40"],
    "packages.example.org": ["203.0.113.50"],
    "updates.example": ["203.0.113.60"],
}
TLS12_ONLY = HOSTS["legacy.example.net"][0]


class WorldError(Exception):
    """What this machine lacks for recording."""


def enter(module: str, arguments: list[str]) -> None:
    """Go on in new namespaces; returns only there."""
    if os.environ.get(MARK):
        return
    if os.geteuid() != 0:
        raise WorldError("recording makes network namespaces and listens to packets: run it as root")
    for program, package in {
        "unshare": "util-linux",
        "ip": "iproute2",
        "mount": "mount",
        "openssl": "openssl",
    }.items():
        if shutil.which(program) is None:
            raise WorldError(f"recording needs {program}: apt-get install {package}")
    namespaces = ["--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
    here = [sys.executable, "-m", module, *arguments]
    os.execvpe("unshare", ["unshare", *namespaces, *here], {**os.environ, MARK: "1"})  # noqa: S606


def build() -> None:
    """Make the mounts, the names, the certificates and the wire."""
    _mounts()
    _names()
    certificates(WORK, list(HOSTS))
    _trust()
    _network()


def is_server(address: str) -> bool:
    """Say whether an address is one of the servers' host."""
    return any(ip_address(address) in net for net in NETS)


def in_servers_host(command: list[str]) -> list[str]:
    """The command line that runs a command on the servers' host."""
    return ["ip", "netns", "exec", "servers", *command]


def turn_offload_off(interface: str) -> None:
    """Let the kernel, not the interface, cut segments, join them and make checksums."""
    # ETHTOOL_STSO, _SGSO, _SGRO, _SRXCSUM, _STXCSUM
    for order in (0x1F, 0x24, 0x2C, 0x15, 0x17):
        value = ctypes.create_string_buffer(struct.pack("II", order, 0))
        request = struct.pack("16sP", interface.encode(), ctypes.addressof(value)) + bytes(16)
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, 0x8946, request)  # SIOCETHTOOL


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorldError(f"{' '.join(command)}: {(done.stderr + done.stdout).strip()}")


def _mounts() -> None:
    for folder in ("/srv", "/run"):
        _run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder)
    WORK.mkdir()
    _run("cp", "-a", "/etc", str(WORK / "etc"))
    _run("mount", "--bind", str(WORK / "etc"), "/etc")
    for folder in ("home", "bin", "run", "tmp"):
        (WORK / folder).mkdir()
    Path("/run/sshd").mkdir(mode=0o755)


def _names() -> None:
    lines = [f"{address} {name}" for name, addresses in HOSTS.items() for address in addresses]
    Path("/etc/hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    Path("/etc/resolv.conf").write_text(
        "nameserver 192.0.2.1\n"
    )  # nobody answers: other names are unknown at once
    Path("/etc/hostname").write_text("client\n")
    socket.sethostname("client")


def certificates(folder: Path, names: list[str]) -> None:
    """Write an authority's certificate, ``ca.pem``, and a server's with its key, ``server.pem``.

    ``server.pin`` is the SHA-256 of its public key, as RFC 7469 2.4 writes it.
    """
    now = datetime.datetime.now(datetime.UTC)

    def certificate(
        subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        is_authority = subject == issuer
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1),
            not_valid_after=now + datetime.timedelta(days=30),
        ).add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        if is_authority:  # Python 3.13 and newer insist on its use being said
            nothing_else = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                 "key_agreement", "encipher_only", "decipher_only"), False)  # fmt: skip
            builder = builder.add_extension(
                x509.KeyUsage(key_cert_sign=True, crl_sign=True, **nothing_else), critical=True
            )
        else:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(signer, hashes.SHA256())

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("Example CA", authority_key, "Example CA", authority_key)
    server = certificate(names[0], key, "Example CA", authority_key)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "server.pin").write_text(b64encode(sha256(public).digest()).decode())
    (folder / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + server.public_bytes(pem)
    )


def _trust() -> None:
    """Make the one authority the only one that this system trusts, so that command lines stay ordinary."""
    store = Path("/etc/ssl/certs")
    shutil.rmtree(store)
    (store / "java").mkdir(parents=True)
    for name in ("ca-certificates.crt", "example-ca.pem"):
        shutil.copy(WORK / "ca.pem", store / name)
    _run("openssl", "rehash", str(store))
    if shutil.which("keytool"):
        # The old kind of store, because Java reads it without its password.
        keystore = [
            "-storetype",
            "JKS",
            "-keystore",
            str(store / "java" / "cacerts"),
            "-storepass",
            "changeit",
        ]
        _run(
            "keytool",
            "-importcert",
            "-noprompt",
            "-alias",
            "example",
            "-file",
            str(WORK / "ca.pem"),
            *keystore,
        )
    policies = Path("/etc/firefox/policies")
    policies.mkdir(parents=True, exist_ok=True)
    (policies / "policies.json").write_text(
        f'{{"policies": {{"Certificates": {{"Install": ["{WORK}/ca.pem"]}}}}}}'
    )


def _network() -> None:
    _run("ip", "netns", "add", "servers")
    ends = [["name", WIRE, "address", f"02:00:00:00:00:{last}", "mtu", "1500"] for last in ("10", "01")]
    _run("ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1], "netns", "servers")
    server = in_servers_host([])
    for prefix in ([], server):
        _run(*prefix, "ip", "link", "set", "lo", "up")
        _run(*prefix, "ip", "link", "set", WIRE, "up")
    _run("ip", "addr", "add", f"{CLIENT}/24", "dev", WIRE)
    _run("ip", "addr", "add", f"{CLIENT6}/64", "dev", WIRE, "nodad")
    _run(*server, "ip", "addr", "add", "192.0.2.1/24", "dev", WIRE)
    _run(*server, "ip", "addr", "add", "2001:db8::1/64", "dev", WIRE, "nodad")
    for address in (address for addresses in HOSTS.values() for address in addresses):
        length, nodad = (128, ["nodad"]) if ":" in address else (32, [])
        _run(*server, "ip", "addr", "add", f"{address}/{length}", "dev", WIRE, *nodad)
    _run("ip", "route", "add", str(NETS[0]), "via", "192.0.2.1")
    _run("ip", "route", "add", str(NETS[1]), "via", "2001:db8::1")
    turn_offload_off(WIRE)
