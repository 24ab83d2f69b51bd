"""What everything stands on: compiling, threads, memory, files."""
