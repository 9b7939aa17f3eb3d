"""How files hold bytes: archives, messages, HDF5, pickles, the files beside a file."""
