"""How processes come to be: each way of launching is one file."""
