"""What crosses a cut: which weights join which visible nodes, and how strongly."""
