"""Rain gauges: tipping-bucket counts become calibrated series, sparse matrices and sums."""
