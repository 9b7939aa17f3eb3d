"""The commands of the command line: a contract, one function each."""
