"""The transparency log, read and checked (specs/formats/log.md)."""
