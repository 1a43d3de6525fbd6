"""What encoders that read single members share."""

from typing import ClassVar

from degmm.nets.base import EncoderSizes
from degmm.nets.moments import MomentsEncoder


class PooledEncoder(MomentsEncoder):
    """Learned features of the members, pooled over them, beside the moments; subclasses say how."""

    needs_members: ClassVar[bool] = True

    @staticmethod
    def pooled_width(sizes: EncoderSizes) -> int:
        """Return the width of the last hidden layer."""
        return sizes.hidden[-1]
