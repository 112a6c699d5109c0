"""SSH: one side's identification string and the KEXINIT that follows it.

Sources: RFC 4253 sections 4.2 (protocol version exchange), 5.1 (1.99), 6 (binary packet), 7.1
(SSH_MSG_KEXINIT), 11.2 and 11.3 (ignored and debug data); RFC 4251 section 5 (name-list); the
published definition of HASSH.
"""

import re
from hashlib import md5

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.cursor import Malformed, NeedMore

cdef enum:
    MSG_IGNORE = 2
    MSG_DEBUG = 4
    MSG_KEXINIT = 20
    NAME_LISTS = 10
    # RFC 4253 4.2: CR and LF counted in. The lines before it have no bound there; ours are these.
    MAX_IDENTIFICATION = 255
    MAX_LINES = 50
    MAX_TEXT = 8192
    # A stream that begins with other text is waited for so long, then it is none of ours.
    MAX_TEXT_UNRECOGNISED = 1024
    # RFC 4253 6.1: an implementation must take packets up to this size; packet_length not counted in.
    MAX_PACKET = 35000 - 4
    # RFC 4253 11 lets these come at any time. Nobody sends more than one or two so early.
    MAX_IGNORED = 8

# pmercury's names for the fields of a KEXINIT, in the packet's order.
cdef tuple NAMES = (
    "kex_algos", "s_host_key_algos", "c_enc_algos", "s_enc_algos", "c_mac_algos", "s_mac_algos",
    "c_comp_algos", "s_comp_algos", "c_languages", "s_languages",
)

# The RFC's names of the same fields, for errors.
cdef tuple FIELDS = (
    "kex_algorithms", "server_host_key_algorithms",
    "encryption_algorithms_client_to_server", "encryption_algorithms_server_to_client",
    "mac_algorithms_client_to_server", "mac_algorithms_server_to_client",
    "compression_algorithms_client_to_server", "compression_algorithms_server_to_client",
    "languages_client_to_server", "languages_server_to_client",
)

# A server's lines before the identification string are text: printable, UTF-8 by the RFC.
_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# How the other protocols that begin with a line of text begin. Replies of SMTP, FTP and NNTP; IMAP's
# and POP3's greetings; HTTP, RTSP and SIP, either side (the methods that are common are known before
# their line's end); XML; what a mail client says first.
_OTHER_TEXT = re.compile(
    rb"[0-9]{3}[ -]|\* (?:OK|PREAUTH|BYE)\b|\+OK|-ERR|(?:HTTP|RTSP|SIP)/|<[?!A-Za-z]|[{\[]\""
    rb"|(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) "
    rb"|[!-~]+ [^ \r\n]+ (?:HTTP|RTSP|SIP)/"
    rb"|(?i:EHLO|HELO|LHLO|USER|PASS|NICK) "
)


cdef class SshInit:
    """What one side sends before keys: its identification string and its KEXINIT.

    ``end``: so many bytes of the stream it took. ``truncated``: the packet's end was never seen, its
    name-lists were.
    """

    cdef readonly Py_ssize_t begin, end
    cdef readonly bint truncated
    cdef bytes _protocol
    cdef list _lists

    def __cinit__(self):
        self._protocol = b""
        self._lists = []

    cdef int _read(self, Cursor stream, bint final) except -1:
        cdef Cursor payload = None
        cdef int packets
        self._protocol = identification(stream)
        for packets in range(MAX_IGNORED + 1):
            payload = self._packet(stream, final)
            if payload is not None:
                break
        if payload is None:
            raise Malformed(stream.position, "SSH_MSG_KEXINIT", f"not among {MAX_IGNORED + 1} packets")
        self._read_kexinit(payload)
        stream.skip(self.end - stream.position, "random padding")
        return 0

    # RFC 4253 6, before any keys: no encryption, no MAC. The rules for the padding's size (at least 4
    # bytes, the whole a multiple of 8) are not checked: they say nothing of where the lists lie.
    cdef Cursor _packet(self, Cursor stream, bint final):
        """The next packet's payload, behind its message code, if it is a KEXINIT; ``end`` is the packet's.

        None, and the stream stands behind the packet, for a message that may come before one.
        """
        cdef Py_ssize_t at = stream.position, length
        cdef long padding, code
        cdef Cursor inside
        stream._need(6, "packet_length")  # up to the message code: nothing can be told before
        length = u32(stream, "packet_length")
        if length < 2 or length > MAX_PACKET:
            raise Malformed(at, "packet_length", f"a packet of {length} bytes")
        inside = stream.sub(length, "packet_length")
        padding = inside.u8("padding_length")
        if padding + 1 >= length:
            raise Malformed(at + 4, "padding_length", f"{padding} bytes of {length}")
        code = inside.u8("message code")
        if code not in (MSG_KEXINIT, MSG_IGNORE, MSG_DEBUG):
            raise Malformed(at + 5, "SSH_MSG_KEXINIT", f"message {code} instead")
        if code != MSG_KEXINIT or not final:
            stream._need(length, "packet_length")  # the whole packet, and no try before
        if code != MSG_KEXINIT:
            stream.skip(length, "packet_length")
            return None
        self.end = inside.limit
        return inside.sub(length - padding - 2, "payload")

    # RFC 4253 7.1. What follows the reserved field is left to later versions, as SSH does elsewhere.
    cdef int _read_kexinit(self, Cursor payload) except -1:
        cdef int i
        cdef Py_ssize_t length
        payload.skip(16, "cookie")
        for i in range(NAME_LISTS):
            length = u32(payload, FIELDS[i])
            self._lists.append(payload.take(length, FIELDS[i]))
        payload.u8("first_kex_packet_follows")
        payload.skip(4, "reserved")
        return 0

    @property
    def protocol(self):
        """The identification string, without its line's end; other bytes than UTF-8 as ``\\xNN``."""
        return self._protocol.decode("utf-8", "backslashreplace")

    @property
    def name_lists(self):
        """KEXINIT's ten name-lists, in order, each as it was sent."""
        return list(self._lists)

    def context(self):
        """What the event tells beside the fingerprint."""
        return {"protocol": self.protocol}

    @property
    def followed_by(self):
        """Nothing: what follows tells no more before it is encrypted."""
        return ()

    def step_over(self, Cursor stream, bint final=False):
        """Nothing is sought behind it."""
        return -1, True

    def readable(self):
        """The lists' names under pmercury's labels; an empty list has none (RFC 4251 section 5)."""
        out = {"protocol": [self.protocol]}
        for name, raw in zip(NAMES, self._lists, strict=True):
            out[name] = raw.decode("ascii", "backslashreplace").split(",") if raw else []
        return out


cdef Py_ssize_t u32(Cursor cursor, str field) except -1:
    cdef Py_ssize_t high
    cursor._need(4, field)
    high = cursor.u16(field)
    return (high << 16) | cursor.u16(field)


cdef Py_ssize_t find_identification(Cursor stream, Py_ssize_t bound) except -2:
    """Where the identification string begins; -1 when none does within ``bound`` bytes of text.

    RFC 4253 4.2: a server may send other lines before, none of which begins with ``SSH-``. Since
    other protocols are lines of text too, after such lines the version must be one of ours as well.
    Raises NeedMore.
    """
    cdef bytes data = stream.data, head
    cdef Py_ssize_t first = stream.position, line, lf, end
    cdef int lines
    bound += first
    end = min(stream.available, bound)
    head = data[first:min(first + 4, end)]
    if head == b"SSH-":
        return first
    if b"SSH-".startswith(head):
        raise NeedMore(first + 4)
    if _OTHER_TEXT.match(data, first, end):
        return -1
    line = first
    for lines in range(MAX_LINES):
        lf = data.find(b"\n", line, end)
        if _NO_TEXT.search(data, line, end if lf < 0 else lf):
            return -1
        if lf < 0:
            if end + 9 > bound:
                return -1
            raise NeedMore(end + 9)  # the line's end, and SSH-2.0-
        line = lf + 1
        head = data[line:min(line + 8, end)]
        if head in (b"SSH-2.0-", b"SSH-1.99"):
            return line
        if b"SSH-2.0-".startswith(head) or b"SSH-1.99".startswith(head):
            if line + 8 > bound:
                return -1
            raise NeedMore(line + 8)
        if head.startswith(b"SSH-"):
            return -1
    return -1


def matches(Cursor stream not None) -> bool:
    """Whether the stream begins with an identification string, or with text and then one.

    An SSH-1 stream does, and is Malformed to ``parse``: so it is counted as what it is. Raises
    NeedMore.
    """
    return find_identification(stream, MAX_TEXT_UNRECOGNISED) >= 0


# RFC 4253 4.2. A bare LF ends the line too: older implementations send no CR.
cdef bytes identification(Cursor stream):
    cdef Py_ssize_t start = find_identification(stream, MAX_TEXT), lf
    cdef bytes text
    if start < 0:
        raise Malformed(stream.position, "identification string", "no line begins with SSH-")
    stream.skip(start - stream.position, "other lines of data")
    lf = stream.data.find(b"\n", start, min(stream.available, start + MAX_IDENTIFICATION))
    if lf < 0:
        if stream.available - start >= MAX_IDENTIFICATION:
            raise Malformed(start, "identification string", f"above {MAX_IDENTIFICATION} bytes")
        raise NeedMore(stream.available + 1)
    text = stream.take(lf + 1 - start, "identification string")[:-1].removesuffix(b"\r")
    if 0 in text:
        raise Malformed(start + text.index(0), "identification string", "a null character")
    # SSH 1.x negotiates without a KEXINIT: nothing of it is worth a fingerprint. 1.99 is a server
    # that speaks 2.0 as well (RFC 4253 5.1), and 2.0 when a KEXINIT follows.
    if text.startswith(b"SSH-1.") and not text.startswith(b"SSH-1.99-"):
        raise Malformed(start + 4, "protoversion", "SSH 1 has no SSH_MSG_KEXINIT")
    return text


def parse(Cursor stream not None, bint final=False) -> SshInit:
    """The identification string at the start of a stream, and the KEXINIT after it.

    ``final``: nothing will follow. A KEXINIT that is cut off is told, ``truncated``, when all its
    name-lists are complete: a shorter one would hash to somebody else's HASSH. Raises NeedMore
    (never when ``final``) and Malformed.
    """
    cdef SshInit message = SshInit.__new__(SshInit)
    try:
        message._read(stream, final)
    except NeedMore:
        if not final:
            raise
        if len(message._lists) < NAME_LISTS:
            raise Malformed(
                stream.available, "SSH_MSG_KEXINIT", "the stream ends before its name-lists do"
            ) from None
        message.truncated = True
        message.end = stream.available
    return message


def fingerprint(SshInit message not None) -> str:
    """pmercury's string: ``(identification string)`` and each name-list, in hex."""
    return "".join([f"({field.hex()})" for field in (message._protocol, *message._lists)])


def hassh(SshInit message not None) -> str:
    """HASSH of a client: the MD5 of ``kex;encryption;mac;compression``, as it sends them."""
    return _hassh(message, 0)


def hassh_server(SshInit message not None) -> str:
    """HASSH of a server: the same of the lists for what it sends."""
    return _hassh(message, 1)


cdef str _hassh(SshInit message, int side):
    cdef list lists = message._lists
    chosen = b";".join((lists[0], lists[2 + side], lists[4 + side], lists[6 + side]))
    return md5(chosen, usedforsecurity=False).hexdigest()
