"""Groups of masks that look alike, which a person can name: features pooled in each mask, reduced and clustered."""
