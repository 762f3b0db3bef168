"""From patches to feature vectors."""
