"""Whether what judges still computes what was trained, and still sees what it was calibrated on."""
