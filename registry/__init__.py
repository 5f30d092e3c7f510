"""The registry: keeps what was proven and hands it out by CID.

Importing this package loads nothing of the web stack; `registry.client` needs httpx only.
"""
