"""Files under the data root: names, workspaces, publishing, space."""
