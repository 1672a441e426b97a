"""``python -m budget_core.cli`` does what ``budget`` does."""

from budget_core.cli import main

if __name__ == "__main__":
    main()
