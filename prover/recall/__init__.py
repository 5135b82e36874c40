"""What a decoder with a memory layer remembers: the library, the file at hand, and its own experience."""
