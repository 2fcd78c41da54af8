"""The driver of SQLite: a queue in one file."""

from oche.queues.sqlite.queue import SQLiteQueue as SQLiteQueue
