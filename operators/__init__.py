"""What is done to frames: pure tensor functions, networks, and the operators that compose them."""
