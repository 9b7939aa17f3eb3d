"""What changes while a person looks: the session, its flights, its detail, its pace."""
