"""What happens at step boundaries, one file each."""
