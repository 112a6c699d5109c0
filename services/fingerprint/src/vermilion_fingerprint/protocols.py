"""What is recognised: one line a protocol, tried in this order on the head of each direction.

To add one, write a module with the same three functions and add its line here.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from typing import Protocol as Interface

from vermilion_fingerprint import tls
from vermilion_fingerprint.cursor import Cursor


class Message(Interface):
    """What a parser gives: one message of a protocol."""

    @property
    def end(self) -> int:
        """So many bytes of the stream it took; -1 when nothing that follows can be of its kind."""

    @property
    def truncated(self) -> bool:
        """Its end was never seen."""

    def context(self) -> Mapping[str, Any]:
        """What the event tells beside the fingerprint, as the event's schema has it."""


class Protocol(NamedTuple):
    """How one kind of message is recognised, parsed and fingerprinted."""

    name: str
    """The event's ``type``, the key of its fingerprint, and the field of its context."""
    matches: Callable[[Cursor], bool]
    """Whether a stream begins like it; raises NeedMore while that is open."""
    parse: Callable[[Cursor, bool], Any]
    """The message at the start of the stream; raises NeedMore or Malformed."""
    fingerprint: Callable[[Any], dict[str, str]]
    """The message's fingerprint strings by form."""
    followers: tuple["Protocol", ...] = ()
    """What may follow behind such a message in the same direction."""


PROTOCOLS = (Protocol("tls", tls.matches, tls.parse, lambda hello: {"tls": tls.fingerprint(hello)}),)
