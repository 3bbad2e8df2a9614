"""The stages of flipkd, their config, the artifact store, and the command line."""
