"""The beanstalkd driver."""

from oche.queues.beanstalkd.queue import BeanstalkdQueue as BeanstalkdQueue
