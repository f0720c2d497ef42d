"""What the course needs and does not teach: checked arguments, files, displays, manners on a shared machine."""
