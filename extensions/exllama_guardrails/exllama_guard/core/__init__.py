"""What is measured and how: plain values and functions, standard library and numpy only."""
