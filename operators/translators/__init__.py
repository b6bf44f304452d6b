"""Image-to-image models of any origin, behind one promise."""
