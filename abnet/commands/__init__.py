"""One thin file a command of `abnet`: `HELP`, `configure(parser)` and `run(args)`."""
