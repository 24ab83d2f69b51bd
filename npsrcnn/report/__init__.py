"""Write reports: one HTML file each, with pictures to compare, that opens from disk.

Nothing in a report is fetched: pictures, curves and style are in the file.
"""
