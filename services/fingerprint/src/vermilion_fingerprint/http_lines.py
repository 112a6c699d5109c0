"""The start lines of HTTP/1.x (RFC 9112 sections 3 and 4), taken apart."""

_OWS = b" \t"


def split_request_line(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """RFC 9112 3: method, request-target, HTTP-version; None when it is no request-line.

    More blanks than the grammar has are ignored, as section 3 allows; a blank in the target
    belongs to it, since the version is the last word.
    """
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rstrip(_OWS).rpartition(b" ")
    target = target.strip(_OWS)
    return (method, target, version) if target and _is_version(version) else None


def split_status_line(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """RFC 9112 4: HTTP-version, status-code, reason-phrase; None when it is no status-line.

    The blank before an empty reason may be missing: many servers leave it out.
    """
    version, _, rest = line.partition(b" ")
    status, _, reason = rest.partition(b" ")
    known = len(status) == 3 and status.isdigit()
    return (version, status, reason) if known and _is_version(version) else None


def _is_version(word: bytes) -> bool:
    """RFC 9112 2.3. The digit may be missing: clients that send ``HTTP/1.`` are answered."""
    return word[:7] == b"HTTP/1." and (len(word) == 7 or (len(word) == 8 and word[7:].isdigit()))
