"""Reads packets, keeps the head of every flow, publishes one record for each segment or datagram kept.

``capturefile`` reads captures: ``pcap`` and ``pcapng`` know the formats, ``window`` the bytes,
``decompress`` what they are packed in, ``bpf`` what of them is wanted. ``packet`` finds the
segment or datagram in a frame, ``tunnels`` knows what may be around it, ``fragments`` puts packets together,
``heads`` decides what of a flow is kept, ``source`` makes payload records of it, ``publish`` writes them to
Kafka. Nothing here knows an application protocol.
"""
