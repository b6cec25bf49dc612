"""Pages in a browser, which is started once for this folder."""
