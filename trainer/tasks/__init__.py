"""What is learned: one short file a task. Tasks know Keras and losses, nothing of replicas, loops, files or gin."""
