"""Schedulers, one file each: what they need, how a spec is handed over, and how they number jobs."""
