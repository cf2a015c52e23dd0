"""What any route of the API answers with: problems, pages of a list, files."""
