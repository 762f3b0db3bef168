"""Tables as journals print them: numbers in, text out."""
