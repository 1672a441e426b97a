"""``python -m budget_cli`` does what ``budget`` does."""

from budget_cli import main

if __name__ == "__main__":
    main()
