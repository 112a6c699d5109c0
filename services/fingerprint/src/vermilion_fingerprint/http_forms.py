"""How field lines are written: in the peers' two forms, and in words."""

from collections.abc import Container, Iterable

Fields = list[tuple[bytes, bytes | None]]


def text(value: bytes) -> str:
    r"""For people and JSON; a byte that is no UTF-8 as ``\xNN``."""
    return value.decode("utf-8", "backslashreplace")


def pmercury_fields(
    lines: Iterable[bytes], with_value: Container[bytes], with_value_if_lower: Container[bytes]
) -> Fields:
    """(name, value) of each line, the value None where it does not belong to the fingerprint."""
    out: Fields = []
    for line in lines:
        name, found, value = line.partition(b": ")
        whole = found and (name.lower() in with_value or name in with_value_if_lower)
        out.append((name, value if whole else None))
    return out


def hex_groups(fields: Fields) -> list[str]:
    """pmercury's groups: ``(name)`` or ``(name: value)``, in hex."""
    return [f"({(name if value is None else name + b': ' + value).hex()})" for name, value in fields]


def word_groups(fields: Fields) -> list[dict[str, str]]:
    """One object a field; its value is empty where it does not belong to the fingerprint."""
    return [{text(name): "" if value is None else text(value)} for name, value in fields]


def mercury_fields(lines: Iterable[bytes], with_value: Container[bytes], by_name: Container[bytes]) -> str:
    """mercury's group of groups: the whole line, or its name, of the fields that it knows."""
    out = []
    for line in lines:
        name, colon, _ = line.partition(b":")
        lower = name.lower()
        if colon and lower in with_value:
            out.append(f"({line.hex()})")
        elif colon and lower in by_name:
            out.append(f"({name.hex()})")
    return f"({''.join(out)})"
