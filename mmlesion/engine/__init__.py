"""What runs a training or a test: the runner and its hooks."""
