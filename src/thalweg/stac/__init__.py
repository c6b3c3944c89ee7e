"""STAC catalogues of Sentinel-2: what each calls things, and how each treats the radiometric offset.

One file per catalogue, whose name is its name in params.yaml. Each offers `TILE` (the property that names the MGRS tile
and its prefix) and `read_item(item, wanted) -> FoundItem`. None of the three can be trusted with the offset as its
items state it; each file says why, and the lock says what was concluded.
"""
