"""Activation maps of samples: inputs, methods, detections, placement, output files."""
