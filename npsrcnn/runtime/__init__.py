"""The ground of all rooms: compiling, threads, memory, files."""
