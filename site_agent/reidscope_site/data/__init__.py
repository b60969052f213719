"""Files that ship with the package: see README.md."""
