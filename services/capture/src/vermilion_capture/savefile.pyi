from vermilion_capture.ring import Block

class Stretch(Block):
    at: int
    def __init__(
        self, buffer: bytes, at: int, link_type: int, big: bool, per_microsecond: int, clip: int
    ) -> None: ...
