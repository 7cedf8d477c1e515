"""Activation maps of samples: inputs, methods by name, detections, placement, files."""
