"""The paper's command line: TFRecords out of face crops. See `prepare_dataset.py --help`."""

from mdcsd.cli import main

if __name__ == "__main__":
    main(program="prepare_dataset.py")
