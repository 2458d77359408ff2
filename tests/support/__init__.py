"""What the tests share: servers to start, probers to watch them, deadlines to wait with."""
