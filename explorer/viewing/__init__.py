"""What a person can change, as plain data: view states, cameras, their history."""
