"""The nouns: frozen values, a file each. Nothing in here starts, reads or writes anything."""
