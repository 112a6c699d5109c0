"""Names the process behind a fingerprint, and tells how sure it is.

Answering, in the order that an event takes: ``stage``, ``reloading`` (which knowledge), ``knowledge``,
``cascade`` and ``nearest`` (which fingerprint is known), ``destination`` and ``ranking`` (which of its
processes), ``systems`` (which operating system); all over the arrays of a ``container``.

Compiling what is answered from: ``sources`` (fetched), ``databases`` and ``tables`` (read), ``weights``
and ``operating_systems`` (made one), ``compiling``, ``fitting`` and ``calibration`` (what it is worth),
``store`` (put in place). ``evaluating`` measures, on ``sessions`` that are drawn.
"""
