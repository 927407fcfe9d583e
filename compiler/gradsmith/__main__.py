"""`python -m gradsmith` is the command `gradsmith`."""

from .cli import main

if __name__ == "__main__":
    main()
