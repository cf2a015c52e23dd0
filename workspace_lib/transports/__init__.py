"""Transports: bytes in and out of devices and servers. No domain knowledge."""
