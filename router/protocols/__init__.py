"""What a request and its rows and predictions look like, one small file per protocol."""
