"""A pipeline of topics and channels: which of 10,000 numbers are prime? `python examples/primes_pipeline.py [URL]`.

On a broker it takes three programs, at any time and on any machines:

    oche stream run examples/primes_pipeline.py --on URL
    seq 10000 | sed 's/.*/{"number": &}/' | oche stream publish numbers --on URL
    oche stream read primes --channel mine --on URL
"""

import math
import sys

from oche.streams import connect, stage


@stage("numbers", channel="worker_group_a", to=("primes", "non_primes"))
def sort_out(message: dict[str, int]) -> tuple[str, dict[str, int]]:
    """Adds whether the number is prime, and says which topic it goes to."""
    number = message["number"]
    prime = number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
    return "primes" if prime else "non_primes", {**message, "prime": prime}


def main() -> None:
    """Everything in one program: feeds the pipeline, runs it, and counts what comes out."""
    with connect(sys.argv[1] if len(sys.argv) > 1 else "local:") as streams:
        for topic in ("primes", "non_primes"):
            streams.subscribe(topic, channel="count")
        streams.publish("numbers", *({"number": number} for number in range(1, 10_001)))
        with streams.start(__file__, until_idle=3.0) as pipeline:
            pipeline.join()
        primes, others = (list(streams.read(topic, channel="count", timeout=1.0)) for topic in ("primes", "non_primes"))
    print(f"{len(primes):,} primes and {len(others):,} others")


if __name__ == "__main__":
    main()
