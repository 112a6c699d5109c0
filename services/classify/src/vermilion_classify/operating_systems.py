"""Names of operating systems: one spelling for what the databases spell in several ways.

``(WinNT)(Windows 10 Enterprise)(10.0.17134)``, ``(Mac OS X)(Mojave)(10.14.6)``,
``(Linux)(Ubuntu 18.04.3 LTS)(4.15.0-55-generic)``, and CPE 2.3 names.
"""

import re
from functools import lru_cache
from typing import NamedTuple


class OperatingSystem(NamedTuple):
    """``name`` is the product as people call it, ``family`` its kind, ``version`` the product's own."""

    name: str
    family: str
    version: str


UNKNOWN = OperatingSystem("Unknown", "unknown", "")

_FAMILIES = {
    "winnt": "windows", "windows": "windows", "mac os x": "macos", "macos": "macos", "linux": "linux",
    "android": "android", "ios": "ios", "iphone os": "ios", "ipados": "ios",
}  # fmt: skip
_CPE_FAMILIES = (
    ("windows", "windows"), ("mac_os", "macos"), ("macos", "macos"), ("iphone_os", "ios"), ("ipados", "ios"),
    ("android", "android"), ("linux", "linux"), ("ubuntu", "linux"), ("debian", "linux"), ("fedora", "linux"),
    ("centos", "linux"), ("mint", "linux"),
)  # fmt: skip


@lru_cache(maxsize=4096)
def normal(text: str) -> OperatingSystem:
    """The operating system that a database's string names; a string of no known form is its own name."""
    if text.startswith("cpe:2.3:o:"):
        return _cpe(text)
    parts = re.fullmatch(r"\(([^()]*)\)\((.*)\)\(([^()]*)\)", text)
    if parts is None:
        return OperatingSystem(text, "unknown", "") if text else UNKNOWN
    platform, edition, version = parts.groups()
    family = _FAMILIES.get(platform.lower(), "unknown")
    if family == "windows":
        return _windows(edition, version)
    if family == "macos":
        return _dotted("macOS", "macos", version)
    if family == "linux":
        return _linux(edition)
    if family in ("android", "ios"):
        return _dotted({"android": "Android", "ios": "iOS"}[family], family, version or edition)
    return OperatingSystem(f"{platform} {edition}".strip(), family, version)


def _windows(edition: str, build: str) -> OperatingSystem:
    release = re.match(r"Windows (?:Server )?[\w.]+", edition)
    name = release[0] if release else "Windows"
    # The build tells Windows 8.1 (6.3) from 8, which the edition sometimes does not.
    if name == "Windows 8" and build.startswith("6.3"):
        name = "Windows 8.1"
    return OperatingSystem(name, "windows", name.removeprefix("Windows").strip())


def _dotted(name: str, family: str, version: str) -> OperatingSystem:
    """A product whose release is its version's first two numbers, or the first from 11 on (macOS)."""
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version)
    if not numbers or numbers[0] in ("0", "0.0"):
        return OperatingSystem(name, family, "")
    major, minor = numbers.groups()
    release = f"{major}.{minor}" if minor and int(major) == 10 else major
    return OperatingSystem(f"{name} {release}", family, release)


def _linux(distribution: str) -> OperatingSystem:
    found = re.match(r"(?P<name>[A-Za-z]+)\D*?(?P<version>\d+(?:\.\d+)?)?(?:\D|$)", distribution)
    if not found or found["name"].lower() == "unknown":
        return OperatingSystem("Linux", "linux", "")
    name = "Linux Mint" if distribution.startswith("Linux Mint") else f"{found['name']} Linux"
    version = re.search(r"\d+(?:\.\d+)?", distribution)
    release = version[0] if version else ""
    if not name.startswith(("Ubuntu", "Linux Mint")):
        release = release.split(".")[0]  # of the others a point release is no release of its own
    return OperatingSystem(f"{name} {release}".strip(), "linux", release)


def _cpe(text: str) -> OperatingSystem:
    """cpe:2.3:o:VENDOR:PRODUCT:VERSION:... (NISTIR 7695)."""
    _, _, _, _, product, *rest = [*text.split(":"), ""]
    version = re.sub(r"[*\-\\]", "", rest[0]) if rest else ""
    family = next((name for begin, name in _CPE_FAMILIES if begin in product), "unknown")
    if family == "windows":
        name = product.replace("windows", "Windows").replace("_", " ").strip()
        return OperatingSystem(name, family, name.removeprefix("Windows").strip())
    if family == "macos":
        return _dotted("macOS", family, version)
    if family in ("android", "ios"):
        return _dotted({"android": "Android", "ios": "iOS"}[family], family, version)
    if family == "linux":
        product = "" if product in ("linux", "linux_kernel") else product.replace("_", " ").title()
        return _linux(f"{product} {version}") if product else OperatingSystem("Linux", family, "")
    return OperatingSystem(product.replace("_", " ") or "Unknown", family, version)
