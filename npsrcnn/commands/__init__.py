"""The commands: options in, one call into the library, lines out."""
