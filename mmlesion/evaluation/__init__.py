"""Numbers from detections: functions in ``functional``, shells in ``metrics``."""
