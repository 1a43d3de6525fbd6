"""Messages in the words of the command line: flags in place of Python's argument names."""

import re
from collections.abc import Mapping


def translated(message: str, flags: Mapping[str, str]) -> str:
    """Return a message with arguments' names replaced by flags.

    A name is one where it heads a sentence (``encoder: expected …``) or is given a value
    (``encoder='mlp'``). Names with an underscore are no English words and are replaced anywhere,
    except inside a path.
    """
    message = message.replace(" to read_ensemble", "")
    for name, flag in flags.items():
        literal = flag.replace("\\", r"\\")  # as a replacement, where a path may hold backslashes
        message = re.sub(rf"(^|: ){name}(?=: )", rf"\g<1>{literal}", message)
        message = re.sub(rf"(?<![\w./\\-]){name}='?([^'\s;,)]+)'?", rf"{literal} \1", message)
        if "_" in name:
            message = re.sub(rf"(?<![\w./\\-]){name}(?![\w/\\-]|\.\w)", literal, message)
    return message
