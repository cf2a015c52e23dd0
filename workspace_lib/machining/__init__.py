"""Machining centres: logs of machines become events, states and rates that can be defended."""
