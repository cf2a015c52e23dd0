"""Reclosers: event files out of their relays, read, analysed and found."""
