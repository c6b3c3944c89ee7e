"""Commands of `thalweg` that have more to say than a line, one file each; `cli` registers them."""
