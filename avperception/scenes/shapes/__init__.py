"""What things look like: convex parts, and everything on the road built from them."""
