"""What test_live.py runs in a network namespace of its own: traffic, and what an interface gives of it."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from cli.command import COMMAND
from fingerprint.hellos import recorded

from vermilion_capture.afpacket import Options
from vermilion_capture.live import LiveCapture, LiveSource

TESTS = Path(__file__).parent.parent


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def bound_packet_sockets() -> int:
    """Packet sockets that receive: column R of the kernel's list is "running"."""
    return sum(line.split()[5] == "1" for line in Path("/proc/net/packet").read_text().splitlines()[1:])


def wait_for_packet_socket(before: int) -> None:
    deadline = time.monotonic() + 30
    while bound_packet_sockets() <= before:
        assert time.monotonic() < deadline, "no packet socket was opened"
        time.sleep(0.05)


def scan() -> None:
    """A hello over loopback, seen by ``scan -c lo``; then Ctrl-C in the middle of another."""
    ip("link", "set", "lo", "up")
    sockets = bound_packet_sockets()
    with socket.create_server(("127.0.0.1", 4433)) as server:
        command = [*COMMAND, "scan", "-e", "-c", "lo"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for_packet_socket(sockets)
        assert process.stdout is not None
        with socket.create_connection(("127.0.0.1", 4433)) as client, server.accept()[0]:
            client.sendall(recorded()[0])
            # tcp, tcp_server, tls: told while the capture goes on
            lines = [process.stdout.readline() for _ in range(3)]
            with socket.create_connection(("127.0.0.1", 4433)) as other, server.accept()[0]:
                other.sendall(recorded()[1][:-10])
                # A third connection is told of: what came before it has been read.
                with socket.create_connection(("127.0.0.1", 4433)):
                    lines += [process.stdout.readline() for _ in range(4)]
                    process.send_signal(signal.SIGINT)
                    rest, errors = process.communicate(timeout=30)
        json.dump([process.returncode, errors.decode(), (b"".join(lines) + rest).decode()], sys.stdout)


def tags() -> None:
    """Tagged frames over a veth pair, whose tags the kernel takes out: what the interface gives."""
    ip("link", "add", "one", "type", "veth", "peer", "name", "two")
    for name in ("one", "two"):
        ip("link", "set", name, "up")
    capture = LiveCapture(["two"])
    sent = [
        bytes(12) + b"\x81\x00\x20\x2a\x88\xb5" + b"customer" * 8,
        bytes(12) + b"\x88\xa8\x00\x07\x81\x00\x00\x08\x88\xb5" + b"stacked" * 8,
        bytes(12) + b"\x88\xb5" + b"untagged" * 8,
    ]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("one", 0))
        threading.Timer(0.3, lambda: [sender.send(frame) for frame in sent]).start()
        found = []
        for frame in (each for block in capture if block for each in block):
            if b"\x88\xb5" in frame.data:
                found.append((frame.data.hex(), frame.link_type, abs(time.time() - frame.time / 1e6) < 5))
            if len(found) == len(sent):
                break
    # In any order: each processor has a queue of its own.
    json.dump([sorted((frame.hex(), 1, True) for frame in sent), sorted(found)], sys.stdout)


def launcher() -> None:
    """As nobody: what the launcher becomes, its rights, that its socket receives; and without it."""
    ip("link", "set", "lo", "up")
    _interpreter_for_everybody()
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    arguments = ["-i", "lo", "-b", "127.0.0.1:1"]
    plain = subprocess.run(
        [*nobody, *COMMAND, "capture", *arguments], capture_output=True, text=True, check=False, cwd="/"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        binary = Path(folder, "vermilion-capture")
        source = TESTS.parent / "services/capture/launcher/vermilion-capture.c"
        subprocess.run(["cc", f'-DVERMILION="{COMMAND[0]}"', "-o", binary, source], check=True)
        without = subprocess.run([*nobody, binary], capture_output=True, text=True, check=False)
        subprocess.run(["setcap", "cap_net_raw+ep", binary], check=True)
        sockets = bound_packet_sockets()
        process = subprocess.Popen([*nobody, binary, *arguments], stderr=subprocess.DEVNULL, cwd="/")
        wait_for_packet_socket(sockets)
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        program = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        process.kill()
        process.wait()
    told = dict(line.split(":", 1) for line in status)
    json.dump(
        {
            "plain": [plain.returncode, plain.stderr],
            "without": [without.returncode, without.stderr],
            "program": [word.decode() for word in program[1:4]],
            "rights": [int(told[each], 16) for each in ("CapEff", "CapPrm", "CapInh", "CapAmb")],
            "no new ones": told["NoNewPrivs"].strip(),
            "user": told["Uid"].split()[0],
        },
        sys.stdout,
    )


def pair() -> None:
    """A veth pair, one and two, which say nothing by themselves."""
    ip("link", "add", "one", "type", "veth", "peer", "name", "two")
    for name in ("one", "two"):
        ip("link", "set", name, "addrgenmode", "none")
        ip("link", "set", name, "up")


def flood() -> None:
    """More than a small ring holds, read afterwards: what was sent, seen, lost, and of that why."""
    pair()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "flood")
        subprocess.run(["cc", "-O2", "-o", program, TESTS / "capture/flood.c"], check=True)
        capture = LiveCapture(["two"], Options(ring_mib=4))
        done = subprocess.run([program, "one", "100000", "300", "0"], capture_output=True, check=True)
    source = LiveSource(capture, "sensor")
    source.stop()
    kinds: Counter[str] = Counter()
    with contextlib.suppress(KeyboardInterrupt):
        for item in source:
            kinds[item.record["kind"]] += 1
    json.dump([int(done.stdout.split()[0]), source.counts, source.drops, kinds], sys.stdout)


def back() -> None:
    """Down and up again, deleted and made anew: what is seen in each life, and how long nothing was."""
    pair()
    capture = LiveCapture(["two"])
    source = LiveSource(capture, "sensor")
    told = []

    def send(name: bytes) -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("one", 0))
            sender.send(bytes(12) + b"\x88\xb5" + name * 20)

    def acts() -> None:
        send(b"first")
        time.sleep(0.3)
        ip("link", "set", "two", "down")
        time.sleep(1.5)
        ip("link", "set", "two", "up")
        time.sleep(1)
        send(b"second")
        time.sleep(0.3)
        ip("link", "delete", "two")
        time.sleep(1.5)
        pair()
        time.sleep(1)
        send(b"third")
        time.sleep(0.3)
        source.stop()

    threading.Thread(target=acts).start()
    for block in capture:
        if block is not None:
            told += [frame.data[14:].decode() for frame in block if frame.data[12:14] == b"\x88\xb5"]
    json.dump([told, source.blind], sys.stdout)


def _interpreter_for_everybody() -> None:
    """In a mount namespace: an interpreter that lies in a folder of root's own can be reached by all."""
    home = Path("/root")
    base = Path(sys.base_prefix)
    if not base.is_relative_to(home) or home.stat().st_mode & 0o001:
        return
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", base, "/mnt"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", home], check=True)
    base.mkdir(parents=True)
    subprocess.run(["mount", "--move", "/mnt", base], check=True)


if __name__ == "__main__":
    {"scan": scan, "tags": tags, "launcher": launcher, "flood": flood, "back": back}[sys.argv[1]]()
