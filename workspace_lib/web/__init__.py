"""The web front: one door for people, one API for programs."""
