"""The instructor's kit: marks a class, releases chapters. It stands outside the students' wheel."""
