"""The paper's command line: train a classifier, or test one. See `classifier.py --help`."""

from mdcsd.cli import main

if __name__ == "__main__":
    main(program="classifier.py")
