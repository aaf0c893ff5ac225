"""The paper's command line: face crops out of videos. See `process_frames.py --help`."""

from mdcsd.cli import main

if __name__ == "__main__":
    main(program="process_frames.py")
