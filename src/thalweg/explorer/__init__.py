"""A map to look around in: the same viewer in the report, its pixels in the page, and before a local server.

`held` knows a map's layers, `ground` the scenes below it; `embed` puts one map into a page, `tiles` and `serve` hand
out windows of maps of any size. What the page does with them is templates/explorer.js.
"""
