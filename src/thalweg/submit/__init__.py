"""The pipeline on a cluster: what members need is made, members train as an array of jobs, and what follows is made.

Tasks run stage scripts, not DVC (docs/adr/0011): its lock is a file lock that shared disks may not keep, its table of
who uses what takes another machine's process numbers for dead ones, and a training that ends while another hands over
is lost. Each task leaves a receipt, by which the last job, the only one that runs DVC, knows what it may record.
"""
