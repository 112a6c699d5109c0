"""Into which classes a destination falls: autonomous system, domain, kind of port.

As the 0.2.1.3 database was counted, so that its numbers mean what they meant: section numbers of
the table's origin are in docs/inference.md.
"""

import gzip
import warnings
import zlib
from pathlib import Path

with warnings.catch_warnings():
    # pyasn 1.6.2 has an invalid escape in a pattern; compiling it must not warn our users of it.
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    import pyasn

UNKNOWN = "unknown"
_LONGEST_SUFFIX = 6

_PORTS = {
    443: "https", 448: "database", 465: "email", 563: "nntp", 585: "email", 614: "shell",
    636: "ldap", 989: "ftp", 990: "ftp", 991: "nas", 992: "telnet", 993: "email", 994: "irc",
    995: "email", 1443: "alt-https", 2376: "docker", 8001: "tor", 8443: "alt-https", 9000: "tor",
    9001: "tor", 9002: "tor", 9101: "tor",
}  # fmt: skip


class TableError(Exception):
    """A table that cannot be read; says the file and why."""


def port_class(port: int) -> str:
    """The kind of application usual at a TCP port."""
    return _PORTS.get(port, UNKNOWN)


class Domains:
    """Registered domains, by the public suffix list the database was counted with."""

    def __init__(self, suffixes: frozenset[str]) -> None:
        self._suffixes = suffixes

    def domain(self, server_name: str | None) -> str:
        """The registered domain of a host name; ``None`` (a word) when there is no name.

        The longest suffix of two to six labels counts, else the last label alone; the database
        knows no wildcard rules and no exceptions.
        """
        if server_name is None or server_name == "None":
            return "None"
        labels = server_name.split(".")
        suffix = 1
        for count in range(2, min(_LONGEST_SUFFIX, len(labels)) + 1):
            if ".".join(labels[-count:]) in self._suffixes:
                suffix = count
        return ".".join(labels[-(suffix + 1) :])


class Networks:
    """Autonomous systems by address."""

    def __init__(self, table: str, names: dict[str, str]) -> None:
        self._table = pyasn.pyasn(None, ipasn_string=table)
        self._names = names

    def system(self, address: str) -> str:
        """``number:name`` of the AS that announces ``address``. Raises ValueError for no address."""
        number = self._table.lookup(address)[0]
        return UNKNOWN if number is None else self._names.get(str(number), UNKNOWN)


def load_domains(path: Path) -> Domains:
    """The suffix list in ``path`` (gzip). Raises TableError."""
    rules = (line.strip() for line in _lines(path))
    return Domains(frozenset(rule.removeprefix("*.") for rule in rules if rule and not rule.startswith("//")))


def load_networks(table: Path, names: Path) -> Networks:
    """The AS table (``prefix TAB number``) and the AS names, both gzip. Raises TableError."""
    by_number = dict(line.rstrip("\n").split("\t", 1) for line in _lines(names) if "\t" in line)
    try:
        return Networks("".join(_lines(table)), by_number)
    except (ValueError, RuntimeError) as error:
        raise TableError(f"{table}: {error}") from None


def load_families(path: Path) -> dict[str, str]:
    """Process name -> application family, from comma lines ``family,member,...``. Raises TableError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: {error}") from None
    families = {}
    for line in lines:
        family, *members = line.split(",")
        families.update(dict.fromkeys(members, family))
    return families


def _lines(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.readlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise TableError(f"{path}: {error}") from None
