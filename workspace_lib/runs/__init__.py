"""Runs: job files, schedule, ledger, runner, executors, services, notifications."""
