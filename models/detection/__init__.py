"""What detectors of small round findings share: boxes, targets, losses, and how they are judged."""
