"""Recordings through the real node, in lock step: detections, metrics and pictures come out."""
