"""Trading on paper: the same strategy, live, on an exchange where no real money is."""
