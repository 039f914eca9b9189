"""What runs inside the sandbox, beside a student's code. Nothing here knows an answer."""
