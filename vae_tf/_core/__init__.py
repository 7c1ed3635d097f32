"""What every room needs: seeds, chunks, guards, the stack below. Nothing here is public."""
