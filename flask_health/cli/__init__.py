"""The command line: a small file for each command. Those that probe import next to nothing."""
