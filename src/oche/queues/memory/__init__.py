"""The queue of `local:`, within one process."""

from oche.queues.memory.queue import MemoryQueue as MemoryQueue
