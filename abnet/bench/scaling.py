"""What data-parallel training sends: the gradients of what trains, and nothing frozen."""

from __future__ import annotations

GRADIENT_BYTES = 4  # a value; 2 where fairseq trains in 16 bits


def gradient_bytes(trained_parameters: int, bytes_a_value: int = GRADIENT_BYTES) -> int:
    """What one all-reduce is of."""
    return trained_parameters * bytes_a_value


def sent_bytes(gradient: int, processes: int) -> int:
    """What each process sends in a step, and receives, in an all-reduce around a ring.

    All but one part of n go around twice: once to be summed, once to be told (Patarasuk and Yuan
    2009). No way of summing can send less than that.

    Args:
        gradient: bytes.
        processes: n.
    """
    return 2 * (processes - 1) * gradient // processes


def step_seconds(alone: float, gradient: int, processes: int, bytes_a_second: float) -> float:
    """A step at most: the one of a process by itself, and then the sending, nothing overlapped.

    Args:
        alone: seconds of a step without sending.
        gradient: bytes.
        processes: n.
        bytes_a_second: of the link of each process, in each direction.
    """
    return alone + sent_bytes(gradient, processes) / bytes_a_second
