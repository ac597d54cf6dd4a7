"""Output and exit codes of the scripts: plain lines, errors on stderr, 1 failed, 2 misused."""

import sys
import time

from .resp import ReplyError

FAILURE = 1
MISUSE = 2


class Failure(Exception):
    """Something that the user has to know and that ends the script: printed without a traceback."""

    def __init__(self, text, code=FAILURE):
        super().__init__(text)
        self.code = code


def say(text=""):
    print(text, flush=True)


def warn(text):
    print("warning: " + text, file=sys.stderr, flush=True)


def run_main(main):
    """Calls `main`, turning a `Failure` or Ctrl-C into a clear line and an exit code."""
    try:
        code = main()
    except Failure as failure:
        print("error: %s" % failure, file=sys.stderr, flush=True)
        code = failure.code
    except (OSError, ReplyError) as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(FAILURE)
        print("error: %s: %s" % (type(error).__name__, error), file=sys.stderr, flush=True)
        code = FAILURE
    except AssertionError as error:  # a condition that was waited for in vain
        print("error: %s" % error, file=sys.stderr, flush=True)
        code = FAILURE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        code = 130
    sys.exit(code or 0)


class Stopwatch:
    def __init__(self):
        self.begun = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.begun

    def __str__(self):
        seconds = self.seconds
        if seconds < 100:
            return "%.1f s" % seconds
        return "%d min %02d s" % (seconds // 60, seconds % 60)


def table(rows, header, align=None):
    """Lines of a text table; `align` holds '<' or '>' per column (text left, figures right)."""
    cells = [[str(cell) for cell in row] for row in [header] + rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    align = align or "<" + ">" * (len(header) - 1)
    lines = []
    for row in cells:
        lines.append(
            "  ".join(
                cell.ljust(width) if side == "<" else cell.rjust(width)
                for cell, width, side in zip(row, widths, align)
            ).rstrip()
        )
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
