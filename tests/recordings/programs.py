"""The programs that are recorded: their command lines, and how each tells its version and its library."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recordings.world import WORK, WorldError

CLIENTS = Path(__file__).with_name("clients")
SECONDS = 60


@dataclass(frozen=True)
class Program:
    """One command line, run once."""

    key: str
    program: str
    line: str
    library: str = ""
    stdin: str = ""
    codes: tuple[int, ...] = (0,)
    home: str = ""  # of a program that is not the system's: the folder it is installed in

    @property
    def command(self) -> list[str]:
        """The arguments. ``PIN`` stands for the one of the servers' public key, which is new each time."""
        pin = WORK / "server.pin"
        line = self.line.replace("PIN", pin.read_text()) if "PIN" in self.line else self.line
        return shlex.split(line)


@dataclass(frozen=True)
class Era:
    """The programs of a recording, and how they and their libraries tell their versions."""

    programs: Sequence[Program]
    versions: Mapping[str, tuple[str, str]]
    libraries: Mapping[str, tuple[str, str]]


# How a program tells its version: a command and what stands before it.
VERSIONS: dict[str, tuple[str, str]] = {
    "apt": ("apt-get --version", r"apt ([\d.]+)"),
    "aria2": ("aria2c --version", r"aria2 version ([\d.]+)"),
    "cargo": ("cargo --version", r"cargo ([\d.]+)"),
    "chromium": ("chromium --version", r"Chromium ([\d.]+)"),
    "curl": ("curl --version", r"curl ([\d.]+)"),
    "firefox": ("firefox-esr --version", r"Firefox ([\w.]+)"),
    "git": ("git --version", r"git version ([\d.]+)"),
    "gnutls-cli": ("gnutls-cli --version", r"gnutls-cli ([\d.]+)"),
    "go": ("go version", r"go version go([\d.]+)"),
    "java": ("java -version", r'version "([\d._]+)"'),
    "maven": ("mvn --version", r"Apache Maven ([\d.]+)"),
    "node": ("node --version", r"v([\d.]+)"),
    "npm": ("npm --version", r"([\d.]+)"),
    "openssh": ("ssh -V", r"OpenSSH_([\w.]+)"),
    "openssl": ("openssl version", r"OpenSSL ([\w.]+)"),
    "libwww-perl": ("perl -MLWP::UserAgent -e 'print LWP::UserAgent->VERSION'", r"([\d.]+)"),
    "php": ("php --version", r"PHP ([\d.]+)"),
    "pip": ("pip --version", r"pip ([\d.]+)"),
    "python-requests": ("python3.11 -c 'import requests; print(requests.__version__)'", r"([\d.]+)"),
    "ruby": ("ruby --version", r"ruby ([\d.]+)"),
    "uv": ("uv --version", r"uv ([\d.]+)"),
    "wget": ("wget --version", r"GNU Wget ([\d.]+)"),
}

LIBRARIES: dict[str, tuple[str, str]] = {
    "OpenSSL": ("openssl version", r"OpenSSL ([\w.]+)"),
    "OpenSSL of node": ("node -p process.versions.openssl", r"([\d.]+)"),
    "OpenSSL of cargo": ("cargo --version --verbose", r"ssl: OpenSSL ([\w.]+)"),
    "GnuTLS": ("dpkg-query --show --showformat ${Version} libgnutls30", r"([\d.]+)"),
    "Go crypto/tls": VERSIONS["go"],
    "JSSE": VERSIONS["java"],
    "libssh2": ("curl --version", r"libssh2/([\d.]+)"),
}

WWW, ORG, API = "https://www.example.com/", "https://www.example.org/", "https://api.example.org/v1/items"
PACKAGES = "https://packages.example.org"
S_CLIENT = "openssl s_client -connect www.example.com:443"
GET = "GET / HTTP/1.0\n\n"

PROGRAMS = [
    Program("curl", "curl", f"curl {WWW}", "OpenSSL"),
    Program("curl-http1.1", "curl", f"curl --http1.1 {WWW}", "OpenSSL"),
    Program("curl-tls1.2", "curl", f"curl --tls-max 1.2 {WWW}", "OpenSSL"),
    Program("curl-tls1.2-server", "curl", "curl https://legacy.example.net/", "OpenSSL"),
    Program("curl-ipv6", "curl", f"curl -6 {ORG}", "OpenSSL"),
    Program("curl-post", "curl", f"curl -d name=example {API}", "OpenSSL"),
    Program("curl-8443", "curl", "curl https://www.example.com:8443/", "OpenSSL"),
    Program("wget", "wget", f"wget -O /dev/null {WWW}", "GnuTLS"),
    Program("openssl", "openssl", f"{S_CLIENT} -quiet", "OpenSSL", GET),
    Program("openssl-tls1.2", "openssl", f"{S_CLIENT} -tls1_2 -quiet", "OpenSSL", GET),
    Program("openssl-no-sni", "openssl", f"{S_CLIENT} -noservername -quiet", "OpenSSL", GET),
    Program("openssl-session", "openssl", f"{S_CLIENT} -sess_out session.pem -quiet", "OpenSSL", GET),
    Program("openssl-resume", "openssl", f"{S_CLIENT} -sess_in session.pem -quiet", "OpenSSL", GET),
    Program("gnutls-cli", "gnutls-cli", "gnutls-cli www.example.com", "GnuTLS", GET, (0, 1)),
    Program("git", "git", "git ls-remote https://git.example.net/project.git", "GnuTLS"),
    Program("python", "python", f"python3 urllib_get.py {WWW}", "OpenSSL"),
    Program("python-asyncio", "python", "python3 asyncio_get.py www.example.com", "OpenSSL"),
    Program("python3.13", "python", f"python3.13 urllib_get.py {WWW}", "OpenSSL"),
    Program("python2.7", "python", f"python2.7 urllib_get.py {WWW}", "OpenSSL"),
    Program("requests", "python-requests", f"python3.11 requests_get.py {WWW}", "OpenSSL"),
    Program("pip", "pip", f"pip download --retries 0 --index-url {PACKAGES}/pip/ demo", "OpenSSL", "", (1,)),
    Program("uv", "uv", f"uv pip compile --no-cache --index-url {PACKAGES}/pip/ -", "rustls", "demo", (1,)),
    Program("node-https", "node", f"node https.mjs {WWW}", "OpenSSL of node"),
    Program("node-fetch", "node", f"node fetch.mjs {WWW}", "OpenSSL of node"),
    Program("npm", "npm", f"npm view demo --registry {PACKAGES}/npm/", "OpenSSL of node"),
    Program("java-urlconnection", "java", f"java UrlConnection.java {WWW}", "JSSE"),
    Program("java-httpclient", "java", f"java HttpClientGet.java {WWW}", "JSSE"),
    Program("maven", "maven", "mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:get",
            "JSSE", codes=(1,)),
    Program("go", "go", f"./fetch {WWW}", "Go crypto/tls"),
    Program("cargo", "cargo", f"cargo search demo --index sparse+{PACKAGES}/cargo/",
            "OpenSSL of cargo", codes=(101,)),
    Program("perl", "libwww-perl", f"lwp-request {WWW}", "OpenSSL"),
    Program("ruby", "ruby", f"ruby -ropen-uri -e 'URI.open(ARGV[0]).read' {WWW}", "OpenSSL"),
    Program("php", "php", f"php -r 'readfile($argv[1]);' {WWW}", "OpenSSL"),
    Program("aria2", "aria2", f"aria2c --dir downloads {WWW}", "GnuTLS"),
    Program("apt-https", "apt", "apt-get -o Dir::Etc::SourceList=https.list update", "GnuTLS", codes=(100,)),
    Program("chromium", "chromium",
            f"chromium --headless --no-sandbox --ignore-certificate-errors --dump-dom {WWW}", "BoringSSL"),
    Program("firefox", "firefox", f"firefox-esr --headless --screenshot page.png {WWW}", "NSS"),
    # Over UDP.
    Program("chromium-h3", "chromium",
            "chromium --headless --no-sandbox --origin-to-force-quic-on=www.example.com:4443"
            " --ignore-certificate-errors-spki-list=PIN --dump-dom https://www.example.com:4443/",
            "BoringSSL"),
    Program("openssl-dtls1.2", "openssl",
            "openssl s_client -dtls1_2 -connect www.example.com:4444", "OpenSSL"),
    Program("openssl-dtls1.2-mtu", "openssl",
            "openssl s_client -dtls1_2 -mtu 256 -connect www.example.com:4444", "OpenSSL"),
    # Plain HTTP and SSH: the same machinery carries them.
    Program("http-curl", "curl", "curl http://www.example.com/"),
    Program("http-curl-two", "curl", "curl http://www.example.com/ http://www.example.com/about"),
    Program("http-curl-post", "curl", "curl -d name=example http://api.example.org/v1/items"),
    Program("http-wget", "wget", "wget -O /dev/null http://www.example.com/"),
    Program("http-python", "python", "python3 urllib_get.py http://www.example.com:8080/"),
    Program("http-node", "node", "node https.mjs http://www.example.com/"),
    Program("http-fetch", "node", "node fetch.mjs http://www.example.com/"),
    Program("http-java", "java", "java UrlConnection.java http://www.example.com/"),
    Program("http-java-httpclient", "java", "java HttpClientGet.java http://www.example.com/"),
    Program("http-go", "go", "./fetch http://www.example.com/"),
    Program("http-apt", "apt", "apt-get update", codes=(100,)),
    Program("ssh", "openssh", "ssh shell.example.net true", "OpenSSL"),
    Program("scp", "openssh", "scp shell.example.net:/etc/hostname copied", "OpenSSL"),
    Program("ssh-keyscan", "openssh", "ssh-keyscan -t ed25519 shell.example.net", "OpenSSL"),
    Program("curl-sftp", "curl",
            "curl --insecure --key client_key --pubkey client_key.pub --user root: sftp://shell.example.net/etc/hostname",
            "libssh2"),
]  # fmt: skip
# Programs that begin in the clear and then ask for TLS; not in the bundled recording.
ASK = "openssl s_client -connect www.example.com:{} -starttls {}"
UPGRADING = [
    Program("smtp-openssl", "openssl", ASK.format(25, "smtp"), "OpenSSL"),
    Program("imap-openssl", "openssl", ASK.format(143, "imap"), "OpenSSL"),
    Program("pop3-openssl", "openssl", ASK.format(110, "pop3"), "OpenSSL"),
    Program("ftp-openssl", "openssl", ASK.format(21, "ftp"), "OpenSSL"),
    Program("postgres-openssl", "openssl", ASK.format(5432, "postgres"), "OpenSSL"),
    Program("smtp-curl", "curl", "curl --ssl-reqd smtp://www.example.com/ -X NOOP", "OpenSSL"),
    Program("imap-curl", "curl", "curl --ssl-reqd imap://www.example.com/ -X NOOP", "OpenSSL"),
    Program("pop3-curl", "curl", "curl --ssl-reqd pop3://www.example.com/ -X NOOP", "OpenSSL"),
    Program(
        "ftp-curl", "curl", "curl --ssl-reqd ftp://www.example.com/ -X NOOP", "OpenSSL", codes=(0, 9, 13, 19)
    ),
]
TODAY = Era(PROGRAMS, VERSIONS, LIBRARIES)


def environment() -> dict[str, str]:
    """What a program sees: nothing of who records, and the authority where that must be told."""
    home = Path.home()
    authority = str(WORK / "ca.pem")
    return {
        "PATH": os.pathsep.join([str(WORK / "bin"), str(home / ".cargo" / "bin"), os.environ["PATH"],
                                 "/usr/local/go/bin", "/usr/sbin", str(Path(sys.executable).parent)]),
        "HOME": str(WORK / "home"), "TMPDIR": str(WORK / "tmp"), "USER": "root", "LOGNAME": "root",
        "LANG": "C.UTF-8", "TERM": "dumb",
        "NODE_EXTRA_CA_CERTS": authority, "REQUESTS_CA_BUNDLE": authority, "SSL_CERT_FILE": authority,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NPM_CONFIG_UPDATE_NOTIFIER": "false",
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(home / ".rustup")), "CARGO_NET_RETRY": "0",
        "GOTOOLCHAIN": "local",
    }  # fmt: skip


def prepare(seen: Mapping[str, str]) -> None:
    """Lay out what the programs run on: the small clients, and settings that name only the local servers."""
    run, home = WORK / "run", WORK / "home"
    shutil.copytree(CLIENTS, run, dirs_exist_ok=True)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = {"python3": Path("/usr/bin/python3")}
    for name in ("python2.7", "python3.11", "python3.13"):
        places[name] = next(
            iter(pyenv.glob(f"{name.removeprefix('python')}*/bin/{name}")), Path(f"/usr/bin/{name}")
        )
    places["pip"] = places["python3.13"].with_name("pip")
    for name, place in places.items():
        if place.exists():
            (WORK / "bin" / name).symlink_to(place)
    if shutil.which("go", path=seen["PATH"]):
        # Said as a module of today would say it: without it Go gives programs the TLS settings of years ago.
        minor = told("go version", r"go version go(\d+\.\d+)", seen)
        (run / "go.mod").write_text(f"module example.org/fetch\n\ngo {minor}\n")
        build = ["go", "build", "-o", "fetch", "fetch.go"]
        done = subprocess.run(build, cwd=run, env=dict(seen), capture_output=True, text=True, check=False)
        if done.returncode:
            raise WorldError(f"go build: {done.stderr.strip()}")

    sources = "deb [trusted=yes] {}://updates.example/debian bookworm main\n"
    for old in ("sources.list.d", "apt.conf.d", "auth.conf.d"):
        shutil.rmtree(f"/etc/apt/{old}", ignore_errors=True)
    Path("/etc/apt/sources.list").write_text(sources.format("http"))
    Path("/etc/apt/https.list").write_text(sources.format("https"))
    (WORK / "apt/lists/partial").mkdir(parents=True)
    Path("/etc/apt/apt.conf").write_text(
        f'Dir::State "{WORK}/apt"; Dir::Cache "{WORK}/apt/cache"; '
        'APT::Sandbox::User "root"; Acquire::Retries "0";\n'
    )
    (home / ".m2").mkdir()
    mirror = f"<mirror><id>local</id><mirrorOf>*</mirrorOf><url>{PACKAGES}/maven/</url></mirror>"
    (home / ".m2/settings.xml").write_text(f"<settings><mirrors>{mirror}</mirrors></settings>")
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh/config").write_text(
        f"Host *\nIdentityFile {run}/client_key\nStrictHostKeyChecking accept-new\n"
    )
    passwd = Path("/etc/passwd")  # OpenSSH takes the home folder from here
    passwd.write_text(re.sub(r"(?m)^(root:.*:)[^:]*(:[^:]*)$", rf"\1{home}\2", passwd.read_text()))


def told(command: str, pattern: str, seen: Mapping[str, str]) -> str | None:
    """What a program says about itself; none if it does not."""
    try:
        done = subprocess.run(
            shlex.split(command), env=dict(seen), cwd=WORK / "run", capture_output=True, text=True,
            check=False, timeout=SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else None


def is_there(program: Program, seen: Mapping[str, str]) -> bool:
    """Say whether a program's command is installed, or was built here; one with a home must be in it."""
    name = program.command[0]
    if "/" in name:
        return (WORK / "run" / name).is_file()
    path = seen["PATH"].split(os.pathsep)[0] if program.home else seen["PATH"]
    return shutil.which(name, path=path) is not None


def version_of(program: Program, era: Era, seen: Mapping[str, str]) -> str | None:
    """The version of a program that is there."""
    if program.program == "python":
        return told(f"{program.command[0]} --version", r"Python ([\d.]+)", seen)
    return told(*era.versions[program.program], seen)


def library_of(program: Program, era: Era, seen: Mapping[str, str]) -> str | None:
    """The TLS or SSH library that a program uses, with its version where that can be asked."""
    if program.library not in era.libraries:
        return program.library or None
    version = told(*era.libraries[program.library], seen)
    return f"{program.library.partition(' of ')[0]} {version or ''}".strip()
