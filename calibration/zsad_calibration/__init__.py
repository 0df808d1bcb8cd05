"""Decision thresholds from good parts, and activation calibration."""
