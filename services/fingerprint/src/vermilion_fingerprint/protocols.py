"""What is recognised: one line a protocol, tried in this order on the head of each direction.

To add one, write a module with the same functions and add its line here: docs/adding-a-protocol.md.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple
from typing import Protocol as Interface

from vermilion_fingerprint import (
    certificate,
    dtls,
    http,
    quic,
    ssh,
    sslv2,
    starttls,
    tcp,
    tls,
    tls_forms,
    tls_server,
)
from vermilion_fingerprint.conversation import Conversation
from vermilion_fingerprint.cursor import Cursor
from vermilion_fingerprint.decrypt.messages import FORMS as DECRYPTED_FORMS

CLIENT, SERVER = "client", "server"


class Message(Interface):
    """What a parser gives: one message of a protocol."""

    @property
    def begin(self) -> int:
        """Where in the stream it begins, behind what may come before it."""

    @property
    def end(self) -> int:
        """Where what is fingerprinted of it ends."""

    @property
    def truncated(self) -> bool:
        """Its end was never seen."""

    @property
    def followed_by(self) -> Sequence[str]:
        """The protocols of which a message may come behind it in the same direction."""

    def step_over(self, stream: Cursor, final: bool = False) -> tuple[int, bool]:
        """So many bytes of the stream to step over (-1: leave it), and whether the next may begin there.

        When not, it is asked again with the stream that then begins there. ``final``: nothing more of
        this stream's beginning will come. Raises NeedMore.
        """

    def context(self) -> Mapping[str, Any] | None:
        """What the event tells beside the fingerprint, as the event's schema has it."""

    def readable(self) -> Any:
        """The message in words, for people; what has no name is shown as hex."""


class Protocol(NamedTuple):
    """How one kind of message is recognised, parsed and fingerprinted."""

    name: str
    """The event's ``type``, and the field of its context."""
    matches: Callable[[Cursor], bool]
    """Whether a stream begins like it; raises NeedMore while that is open."""
    parse: Callable[[Cursor, bool], Any]
    """The message at the start of the stream; raises NeedMore or Malformed."""
    forms: Mapping[str, Callable[[Any], str]]
    """Its fingerprints: the name of each form, and what writes it. Without any, it only leads to others."""
    side: str | None = None
    """Who sends it, where that cannot be told from the message: CLIENT or SERVER."""


class DatagramProtocol(NamedTuple):
    """How a protocol over UDP is recognised, read and fingerprinted."""

    begins: Callable[[bytes], bool]
    """Whether a flow that begins with this datagram may be of it. It costs next to nothing."""
    conversation: Callable[[int], Conversation]
    """Reads one direction, of whose messages so many bytes are kept at most."""
    forms: Mapping[str, Mapping[str, Callable[[Any], str]]]
    """The fingerprints of each type of message, as a Protocol's ``forms``."""


_TLS_FORMS = {"tls": tls.fingerprint, "tls/1": tls_forms.npf1, "ja3": tls_forms.ja3, "ja4": tls_forms.ja4}
_HTTP_FORMS = {"http": http.fingerprint_request, "http/npf": http.npf_request}
_RESPONSE_FORMS = {"http_server": http.fingerprint_response, "http_server/npf": http.npf_response}
_CLIENT_FORMS = {"ssh": ssh.fingerprint, "hassh": ssh.hassh}
_SERVER_FORMS = {"ssh": ssh.fingerprint, "hassh_server": ssh.hassh_server}
_CHAIN_FORMS = {"tls_certificate": certificate.fingerprint}
_COMPATIBLE_FORMS = {"sslv2": sslv2.fingerprint}
_SERVER_HELLO_FORMS = {"tls_server": tls_server.fingerprint, "ja3s": tls_server.ja3s}

PROTOCOLS = (
    Protocol("tls", tls.matches, tls.parse, _TLS_FORMS),
    Protocol("tls_server", tls_server.matches, tls_server.parse, _SERVER_HELLO_FORMS),
    Protocol("tls_certificate", certificate.matches, certificate.parse, _CHAIN_FORMS),
    Protocol("http", http.matches_request, http.parse_request, _HTTP_FORMS),
    Protocol("http_server", http.matches_response, http.parse_response, _RESPONSE_FORMS),
    Protocol("sslv2", sslv2.matches, sslv2.parse, _COMPATIBLE_FORMS),
    Protocol("starttls", starttls.matches, starttls.parse, {}),
    # The last: any text may come before a server's identification string.
    Protocol("ssh", ssh.matches, ssh.parse, _CLIENT_FORMS, CLIENT),
    Protocol("ssh", ssh.matches, ssh.parse, _SERVER_FORMS, SERVER),
)
_QUIC_FORMS = {"quic": quic.fingerprint, "ja3": quic.ja3, "ja4": quic.ja4}
_DTLS_FORMS = {"dtls": dtls.fingerprint, "dtls/1": dtls.npf1_of, "ja3": dtls.ja3, "ja4": dtls.ja4}
_DTLS_SERVER_FORMS = {"dtls_server": dtls.fingerprint_server, "ja3s": dtls.ja3s}

DATAGRAM_PROTOCOLS = (
    DatagramProtocol(quic.begins, quic.Connection, {"quic": _QUIC_FORMS}),
    DatagramProtocol(dtls.begins, dtls.Association, {"dtls": _DTLS_FORMS, "dtls_server": _DTLS_SERVER_FORMS}),
)
# A segment that opens a connection is a message by itself.
SYN_FORMS = {"tcp": tcp.fingerprint, "tcp/npf": tcp.npf}
SYN_ACK_FORMS = {"tcp_server": tcp.fingerprint, "tcp_server/npf": tcp.npf}

Forms = Mapping[str, Callable[[Any], str]]


def all_forms() -> list[str]:
    """The names of all forms, in the order of the table."""
    tables = (SYN_FORMS, SYN_ACK_FORMS, *(protocol.forms for protocol in PROTOCOLS), DECRYPTED_FORMS)
    return list(dict.fromkeys([*(name for table in tables for name in table), *datagram_forms()]))


def datagram_forms() -> list[str]:
    """The names of the forms of what comes over UDP."""
    tables = (forms for protocol in DATAGRAM_PROTOCOLS for forms in protocol.forms.values())
    return list(dict.fromkeys(name for table in tables for name in table))


class Recognised:
    """The table, with the forms that are wanted of it; None: all."""

    def __init__(self, wanted: Container[str] | None = None) -> None:
        def chosen(forms: Forms) -> dict[str, Callable[[Any], str]]:
            return {name: form for name, form in forms.items() if wanted is None or name in wanted}

        self.syn = chosen(SYN_FORMS)
        self.syn_ack = chosen(SYN_ACK_FORMS)
        # What is found in TLS connections, where a key log opens them: a form a type.
        self.decrypted = {name: chosen({name: form}) for name, form in DECRYPTED_FORMS.items()}
        self.starters = tuple(protocol._replace(forms=chosen(protocol.forms)) for protocol in PROTOCOLS)
        self.datagram_forms = {
            name: chosen(forms) for protocol in DATAGRAM_PROTOCOLS for name, forms in protocol.forms.items()
        }
        # What nobody wants to hear of is not looked at: each direction is for itself.
        self.datagrams = tuple(
            protocol
            for protocol in DATAGRAM_PROTOCOLS
            if any(self.datagram_forms[name] for name in protocol.forms)
        )
        self._by_name: dict[str, tuple[Protocol, ...]] = {}
        for protocol, listed in zip(self.starters, PROTOCOLS, strict=True):
            # What nobody wants to hear of is recognised, lest it be taken for another, but not sought.
            if protocol.forms or not listed.forms:
                self._by_name[protocol.name] = (*self._by_name.get(protocol.name, ()), protocol)

    def followers(self, names: Sequence[str]) -> tuple[Protocol, ...]:
        """The protocols of these names."""
        return tuple(protocol for name in names for protocol in self._by_name.get(name, ()))
