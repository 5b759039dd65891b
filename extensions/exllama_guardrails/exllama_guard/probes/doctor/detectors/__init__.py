"""Detectors: values in, an observation out (docs/doctor.md)."""
