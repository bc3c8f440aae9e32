"""One hundred real traffic fines, each a saga that lives for months: see README.md beside this file."""
