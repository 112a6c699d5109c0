"""Reassembles flow heads, recognises the protocol, parses it, and emits one event per fingerprint.

``cursor`` is the only code that touches a stranger's bytes; ``tls`` reads like the RFC's structs;
``protocols`` is the table of what is recognised; ``streams`` puts one direction's segments in
order; ``flows`` remembers unfinished flows; ``stage`` offers it all to the pipeline's runtime.
"""
