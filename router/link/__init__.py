"""What a proxy process and its control process say to one another, over one Unix socket."""
