"""Times and ratios that asv takes of every commit: see CONTRIBUTING.md."""
