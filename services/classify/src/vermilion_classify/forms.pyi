from typing import TypedDict

class FormError(ValueError): ...

class Forms(TypedDict):
    wire: str
    sorted: str
    stable: str
    suites: list[int]
    extensions: list[int]

def forms(fingerprint: str) -> Forms: ...
def tokens(fingerprint: str) -> list[int]: ...
def grams(fingerprint: str) -> list[int]: ...
