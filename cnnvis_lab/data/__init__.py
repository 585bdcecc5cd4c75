"""Pictures and their labels: photographs, the picture world, folders in Broden's format."""
