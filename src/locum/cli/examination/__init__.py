"""What `locum doctor` looks at: checks in rooms by what they look at, and the verdict drawn from their findings."""
