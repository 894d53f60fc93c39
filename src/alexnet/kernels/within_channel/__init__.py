"""Response and contrast normalization within each channel, as in the 2012 code."""
