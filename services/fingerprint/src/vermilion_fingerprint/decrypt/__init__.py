"""What a TLS connection carries, opened with the secrets of a key log."""
