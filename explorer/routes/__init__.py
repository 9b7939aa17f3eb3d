"""Where edges run: tracks, cables, and ways round what stands between. numpy only."""
