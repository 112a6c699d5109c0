"""Reads packets, keeps the head of every flow, publishes one record a TCP segment.

``pcapfile`` reads captures, ``packet`` finds the TCP segment in a frame, ``heads`` decides what of
a flow is kept, ``source`` makes payload records of it, ``publish`` writes them to Kafka. Nothing
here knows an application protocol.
"""
