"""`python -m mdcsd`, which is what torchrun starts."""

from mdcsd.cli import main

if __name__ == "__main__":
    main()
