"""The store: two databases, the raw archive, samples, publications. Knows no wing and no device."""
