"""What a command line would run, as far as its text tells: for rules, and for the accounts."""
