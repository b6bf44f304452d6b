"""How operators run: sources and sinks, runners, configuration, the command."""
