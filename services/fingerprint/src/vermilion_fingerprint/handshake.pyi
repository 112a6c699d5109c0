class Handshake:
    begin: int
    have: int
    declared: int
    type: int
