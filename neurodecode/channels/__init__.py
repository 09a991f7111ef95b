"""What a channel is: its name, its shaft, where it lies in space and on a plane."""
