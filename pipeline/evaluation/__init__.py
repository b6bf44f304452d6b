"""Looking at results: comparisons of the same video by different means."""
