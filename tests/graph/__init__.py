"""Stages, plans and executors; a Ray cluster is started once for this folder."""
