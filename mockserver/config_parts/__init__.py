"""The parts of the configuration: the types of its values, and error messages for invalid ones."""
