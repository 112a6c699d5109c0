# Calls a method over gRPC with its default TLS settings.
import sys

import grpc

with grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials()) as channel:
    channel.unary_unary("/example.Items/List")(b"", timeout=5)
