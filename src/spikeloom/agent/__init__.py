"""Spiking networks that act in an environment (floor 5): policies, and what becomes of them there."""
