"""The Copernicus Data Space: what its catalogue says, and where its files lie.

Nothing here decides a pixel: the lock says which products, `sources/copernicus.py` says which files of them, and a
file counts only once its size and checksum are those that the product's own manifest states (docs/adr/0007).
"""
