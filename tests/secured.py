"""An Apache Kafka that takes nobody without a name: SCRAM over TLS, certificates, and rights.

Its users are our roles, each with the rights that ``vermilion_pipeline.rights`` lists and no others.
"""

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vermilion.dev.kafka import Node, Users
from vermilion.dev.node import Settings
from vermilion_pipeline.rights import ROLES, Right, of

ADMIN = "admin"
_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {"Read": AclOperation.READ, "Write": AclOperation.WRITE}


def password(user: str) -> str:
    """The user's password; begins so that a test can look for all of them."""
    return f"hunter2-{user}"


class Certificates:
    """A certificate authority of the test's own, and whom it vouches for: PEM files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private: set[str] = set()
        """Lines of the base64 of all keys, encrypted and not, for a test to look for."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.authority = folder / "ca.pem"
        self._ca = self._signed(self._name, self._key.public_key(), authority=True)
        self.authority.write_bytes(self._ca.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, password: str | None = None) -> Path:
        """A key, encrypted with the password, and a certificate for ``name`` at 127.0.0.1, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key.public_key(), authority=False)
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        told = plain = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
        if password is not None:
            told = key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(password.encode()))
        self.private |= {line for line in (plain + told).decode().splitlines() if "-" not in line}
        file = self.folder / f"{name}.pem"
        file.write_bytes(told + certificate.public_bytes(pem))
        return file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


def mutual(port: int) -> int:
    """The port for certificates of a node whose clients' port is ``port``."""
    return port + 10


def settings(certificates: Certificates) -> Settings:
    """A listener for SCRAM over TLS at the node's port, one for certificates above it, and rights."""
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    common = {
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": (
            f'{login} username="{ADMIN}" password="{password(ADMIN)}";'
        ),
        "listener.name.mutual.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.issue("broker")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.authority),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # ANONYMOUS is the node itself at its controller's port, the only one without a login.
        "super.users": f"User:{ADMIN};User:ANONYMOUS",
    }

    def of_node(node: Node) -> dict[str, str]:
        clients = f"CLIENTS://127.0.0.1:{node.port},MUTUAL://127.0.0.1:{mutual(node.port)}"
        return {
            "listeners": f"{clients},CONTROLLER://127.0.0.1:{node.controller_port}",
            "advertised.listeners": clients,
            **common,
        }

    return of_node


def users(certificates: Certificates) -> Users:
    """The administrator and our roles, with their passwords."""
    options = [f"--add-scram=SCRAM-SHA-512=[name={one},password={password(one)}]" for one in (ADMIN, *ROLES)]
    return Users(tuple(options), client(certificates, ADMIN))


def client(certificates: Certificates, user: str) -> dict[str, str]:
    """librdkafka's settings of a user."""
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password(user),
        "ssl.ca.location": str(certificates.authority),
    }


def bindings(role: str, prefix: str) -> list[AclBinding]:
    """The access control entries of a role's user."""
    return [binding(role, right) for right in of(role, prefix)]


def binding(user: str, right: Right) -> AclBinding:
    """One access control entry."""
    return AclBinding(
        _RESOURCES[right.resource],
        right.name,
        ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        _OPERATIONS[right.operation],
        AclPermissionType.ALLOW,
    )


def grant(admin: AdminClient, entries: Iterable[AclBinding]) -> None:
    """Add the entries."""
    if wanted := list(entries):
        for answer in admin.create_acls(wanted).values():
            answer.result(30)
