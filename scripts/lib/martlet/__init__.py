"""What the scripts and the wire tests share: processes, a small client, clusters.

The standard library only: a machine with Python has all it needs.
"""
