"""Names the process behind a fingerprint, and tells how sure it is.

``sources`` fetches knowledge, ``knowledge`` loads it, ``destinations`` puts a destination into the
classes that the database counts, ``inference`` weighs them, ``stage`` offers it to the pipeline.
"""
