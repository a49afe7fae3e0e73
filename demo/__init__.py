"""How the networks of the embedded world (``phosphene.demo``) were trained."""
