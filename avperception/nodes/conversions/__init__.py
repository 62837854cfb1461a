"""Messages to the package's types and back; what a message says wrong is a MessageError with its reason."""
