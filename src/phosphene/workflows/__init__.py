"""What each command does: plan, execute, write. One module per command."""
