"""What is true: values and pure decisions. No Flask, no threads, no files; time is an argument."""
