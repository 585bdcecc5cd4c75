"""The `cnnvis` command line."""

import logging
import os
import sys
from collections.abc import Sequence

from ...core import InputError, LabError
from .parser import make_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    try:
        args = make_parser().parse_args(argv)
        for name in ("jobs", "threads", "top", "min_images"):
            if getattr(args, name, 1) < 1:
                option = name.replace("_", "-")
                raise InputError(f"--{option} {getattr(args, name)}: expected at least 1")
        status = args.run(args)
        sys.stdout.flush()  # so that a reader who has left is noticed here
        return status
    except LabError as error:
        print(f"cnnvis: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # The notebook's client leaves a task behind that would complain of the dead kernel.
        logging.getLogger("asyncio").disabled = True
        print("cnnvis: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # such as a full disk
        what = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"cnnvis: {what}; check the path, its rights, and the room there", file=sys.stderr)
        return 2
