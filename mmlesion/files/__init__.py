"""Files: limits on inputs."""
