"""Names of QUIC's transport parameters, as IANA's registry "QUIC Transport Parameters" has them."""

TRANSPORT_PARAMETERS = {
    0x00: "original_destination_connection_id",
    0x01: "max_idle_timeout",
    0x02: "stateless_reset_token",
    0x03: "max_udp_payload_size",
    0x04: "initial_max_data",
    0x05: "initial_max_stream_data_bidi_local",
    0x06: "initial_max_stream_data_bidi_remote",
    0x07: "initial_max_stream_data_uni",
    0x08: "initial_max_streams_bidi",
    0x09: "initial_max_streams_uni",
    0x0A: "ack_delay_exponent",
    0x0B: "max_ack_delay",
    0x0C: "disable_active_migration",
    0x0D: "preferred_address",
    0x0E: "active_connection_id_limit",
    0x0F: "initial_source_connection_id",
    0x10: "retry_source_connection_id",
    0x11: "version_information",
    0x20: "max_datagram_frame_size",
    0x173E: "discard",
    0x26AB: "google handshake message",
    0x2AB2: "grease_quic_bit",
    0x3127: "initial_rtt",
    0x3128: "google_connection_options",
    0x3129: "user_agent",
    0x4752: "google_version",
}

USER_AGENT = 0x3129
