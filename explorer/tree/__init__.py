"""Which layers belong together: the parts of which `explorer.tree.builder` makes the tree.

Everything here works on flat arrays and treats all groups of the tree at once. What keeps a tree
honest is one invariant: the children of every group stand in an order in which all links between
them point forward (links that close a loop of the network are not counted). A group that is a
contiguous run of such an order is convex: no path leaves it and comes back.
"""
