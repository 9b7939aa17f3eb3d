"""Programs that PyTorch exports: graphs and operators."""
