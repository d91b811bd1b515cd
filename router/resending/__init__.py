"""`titleshot resend`: recorded requests go to two model servers, whose answers are compared."""
