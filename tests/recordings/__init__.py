"""Records what real programs put on the wire, and notes which program made which flow."""
