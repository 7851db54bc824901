"""What the configuration is made of: the types of its values, and sentences about wrong ones."""
