"""One paid call, from its worst case to its true cost."""
