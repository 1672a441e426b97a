"""The interfaces of other budget libraries: change one import line (docs/migrating.md)."""
