"""How each rival is asked to fetch one product; run in its own environment by benchmarks/fetch_peers.py."""
