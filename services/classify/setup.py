"""Builds the compiled half of vermilion_classify."""

from vermilion_build import setup_member

setup_member(__file__, "vermilion_classify")
