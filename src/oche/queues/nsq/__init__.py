"""The NSQ driver."""

from oche.queues.nsq.queue import NSQQueue as NSQQueue
