"""The commands of the command line, a module a command, and what they share."""
