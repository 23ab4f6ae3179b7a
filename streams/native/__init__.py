"""The native pass: usual actions become emails in C, without an object for each record (docs/native.md).

It knows nothing of lanes, transactions or Faust. What it may not judge, it leaves to the path in Python.
"""
