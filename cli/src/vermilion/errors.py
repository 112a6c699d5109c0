"""The door where errors become messages: one line on stderr, exit code 1."""

from vermilion.dev.jars import DevError
from vermilion_capture.capturefile import CaptureError
from vermilion_capture.publish import DeliveryError
from vermilion_classify.container import ContainerError
from vermilion_classify.databases import KnowledgeError
from vermilion_classify.sources import FetchError
from vermilion_pipeline.codec import DecodeError
from vermilion_pipeline.ports import BrokerError
from vermilion_pipeline.schemas import SchemaError
from vermilion_pipeline.settings import SettingsError


class CommandFailed(Exception):
    """A command's own failure; says what happened and what to do."""


# What may go wrong while working and is told in one line. Anything else is a defect of ours, and
# its traceback is wanted.
TOLD = (
    BrokerError,
    CaptureError,
    CommandFailed,
    ContainerError,
    DecodeError,
    DeliveryError,
    DevError,
    FetchError,
    KnowledgeError,
    SchemaError,
    SettingsError,
)
