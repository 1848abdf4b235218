"""What Kaggle gets."""
