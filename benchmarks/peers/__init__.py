"""The same service on other libraries, each as its documentation shows it; nothing of ours in it but the rows."""
