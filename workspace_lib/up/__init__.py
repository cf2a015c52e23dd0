"""The whole workspace under one command: simulators, jobs, scheduler, dashboards, web front."""
