"""Applications: one module each, whose body reads as its specification."""
