"""Builds the compiled half of vermilion_fingerprint."""

from vermilion_build import setup_member

setup_member(__file__, "vermilion_fingerprint")
