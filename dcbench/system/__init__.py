"""The machine and the disk: device, memory, files, errors, progress. Imports no other room."""
