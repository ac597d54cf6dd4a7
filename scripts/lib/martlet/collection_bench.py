"""What the collection rows of `scripts/bench` do: how each key is filled, and the command measured.

A row whose command takes elements away is filled anew before each run, outside of what is timed.
"""

from .resp import Connection, encode

MANY = 1_000_000
FEW = 100_000
# Members and fields are named as redis-benchmark fills in `__rand_int__`.
MEMBER = "element:__rand_int__"


class Workload:
    """One row: `words` are sent, `range` is redis-benchmark's -r, `share` scales the requests."""

    def __init__(self, name, words, random=0, share=1.0, fill=None, refill=None, bars=None):
        self.name = name
        self.words = words
        self.random = random
        self.share = share
        self.fill = fill
        self.refill = refill
        self.bars = bars or {1: 1.0, 16: 1.5, 100: 2.5}


def send(port, commands):
    """Sends commands in pipelines of a hundred and reads their replies."""
    with Connection(port, timeout=120) as connection:
        block = []
        for command in commands:
            block.append(encode(command))
            if len(block) == 100:
                flush(connection, block)
        flush(connection, block)


def flush(connection, block):
    connection.send_raw(b"".join(block))
    for _ in block:
        connection.read()
    block.clear()


def grouped(words, count, item, size=100):
    """`words` again and again, each time with the next `size` of `count` items behind."""
    for start in range(0, count, size):
        yield list(words) + [
            part for n in range(start, min(start + size, count)) for part in item(n)
        ]


def member(number):
    return ("element:%012d" % number,)


def scored(number):
    # Scattered, so that neighbours in order of arrival are none in order of score.
    return (str(number * 7919 % MANY), "element:%012d" % number)


def field(number):
    return ("field:%012d" % number, "xxx")


def list_of(key, count):
    return lambda port: send(port, grouped(["RPUSH", key], count, lambda n: ("xxx",)))


def set_of(key, count):
    return lambda port: send(port, grouped(["SADD", key], count, member))


def sorted_of(key, count):
    return lambda port: send(port, grouped(["ZADD", key], count, scored))


def two_sets(port):
    set_of("{s}one", 100)(port)
    set_of("{s}two", 100)(port)


def small_hash(port):
    send(port, grouped(["HSET", "small"], 20, lambda n: ("field:%d" % n, "value:%d" % n)))


def refill_list(port, requests):
    send(port, [["DEL", "queue"]])
    list_of("queue", requests)(port)


def refill_set(port, requests):
    send(port, [["DEL", "bag"]])
    set_of("bag", requests)(port)


WORKLOADS = [
    Workload("LPUSH", ["LPUSH", "list", "xxx"]),
    Workload("RPOP", ["RPOP", "queue"], refill=refill_list),
    Workload("SADD", ["SADD", "set", MEMBER], FEW),
    Workload("SPOP", ["SPOP", "bag"], refill=refill_set),
    Workload("HSET", ["HSET", "hash", "field:__rand_int__", "xxx"], FEW),
    Workload("ZADD", ["ZADD", "sorted", "__rand_int__", MEMBER], FEW),
    Workload("ZRANK", ["ZRANK", "ranked", MEMBER], FEW, fill=sorted_of("ranked", FEW)),
    Workload(
        "ZRANGEBYSCORE",
        ["ZRANGEBYSCORE", "scores", "__rand_int__", "+inf", "LIMIT", "0", "10"],
        FEW,
        0.5,
        fill=sorted_of("scores", FEW),
    ),
    Workload("LRANGE_100", ["LRANGE", "long", "0", "99"], 0, 0.2, fill=list_of("long", 1000)),
    Workload("LRANGE_600", ["LRANGE", "long", "0", "599"], 0, 0.05),
    Workload("HGETALL(20)", ["HGETALL", "small"], 0, 0.4, fill=small_hash),
    Workload("SINTER(100)", ["SINTER", "{s}one", "{s}two"], 0, 0.1, fill=two_sets),
    Workload("XADD", ["XADD", "stream", "*", "field", "value"]),
    Workload("PFADD", ["PFADD", "count", MEMBER], FEW),
    Workload(
        "ZADD(1M)",
        ["ZADD", "big", "__rand_int__", MEMBER],
        MANY,
        fill=sorted_of("big", MANY),
        bars={1: 1.0, 16: 2.5, 100: 2.5},
    ),
    Workload("ZRANK(1M)", ["ZRANK", "big", MEMBER], MANY, bars={1: 1.0, 16: 2.5, 100: 2.5}),
]

# What `--items` stores: a name, how many items, the commands that store them, and the bar in bytes
# per item (None: at most 0.6 of the reference's).
SMALL = 200_000


def many_small(words, item):
    """`SMALL` keys of ten items each."""
    for number in range(SMALL):
        yield [words[0], "%s:%012d" % (words[1], number)] + [
            part for n in range(10) for part in item(number * 10 + n)
        ]


def text(number):
    return ("value:%010d" % number,)


ITEMS = [
    ("small hash field", 10 * SMALL, None, lambda: many_small(
        ["HSET", "hash"], lambda n: ("field:%d" % (n % 10),) + text(n))),
    ("small list element", 10 * SMALL, None, lambda: many_small(["RPUSH", "list"], text)),
    ("small set member", 10 * SMALL, None, lambda: many_small(["SADD", "set"], text)),
    ("big hash field", MANY, 72, lambda: grouped(
        ["HSET", "hash"], MANY, lambda n: text(n) + text(n))),
    ("big set member", MANY, 48, lambda: grouped(["SADD", "set"], MANY, text)),
    ("big sorted-set member", MANY, 90, lambda: grouped(
        ["ZADD", "sorted"], MANY, lambda n: (str(n * 7919 % MANY),) + text(n))),
]
ITEM_SHARE_BAR = 0.6
