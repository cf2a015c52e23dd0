"""Panels of each dashboard: functions of the board that its notebook names and lays out."""
