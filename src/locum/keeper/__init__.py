"""What keeps an instance's session alive, and what ends an instance that might overlap another."""
