#!/usr/bin/env python3
"""Checks what Mashang proves, without Mashang: docs/proofs.md in Python, from the standard library alone.

  verify.py draws  --rules OBJECT.json --campaign ID --secret FILE --awards AWARDS.csv
  verify.py picks  --list FILE --count N --secret FILE --name NAME --check PICKED
  verify.py roots  --records RECORDS.ndjson --roots ROOTS.csv
  verify.py proofs --root HEX PROOF.json...
  verify.py vectors

`draws` takes the published object of the rules (JSON). `roots` takes what `mashang log dump --raw` and `mashang log roots` print.
`vectors` prints the test vectors of docs/proofs.md. Exit status: 0 all is right, 1 something differs, 2 wrong arguments or files.
"""

import argparse
import base64
import csv
import hashlib
import hmac
import json
import sys
from datetime import datetime, timedelta, timezone
from fractions import Fraction

SEPARATOR = b"\x1f"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


# HMAC, and numbers from it.


def digest(secret, *parts):
    return hmac.new(secret, SEPARATOR.join(parts), "sha256").digest()


def number(secret, *parts):
    """The first 8 bytes, big-endian."""
    return int.from_bytes(digest(secret, *parts)[:8], "big")


# AES-256 (FIPS 197), encryption alone.


def times(a, b):
    """The product in GF(2^8)."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def s_box():
    box = []
    for x in range(256):
        inverse = next((y for y in range(256) if times(x, y) == 1), 0)
        value = 0x63
        for shift in range(5):
            value ^= (inverse << shift | inverse >> (8 - shift)) & 0xFF
        box.append(value)
    return box


class Aes256:
    BOX = s_box()
    DOUBLE = [times(x, 2) for x in range(256)]

    def __init__(self, key):
        words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
        constant = 1
        for i in range(8, 60):
            word = words[-1][:]
            if i % 8 == 0:
                word = [self.BOX[b] for b in word[1:] + word[:1]]
                word[0] ^= constant
                constant = self.DOUBLE[constant]
            elif i % 8 == 4:
                word = [self.BOX[b] for b in word]
            words.append([a ^ b for a, b in zip(words[i - 8], word)])
        self.round_keys = [sum(words[i : i + 4], []) for i in range(0, 60, 4)]

    def encrypt(self, block):
        box, double = self.BOX, self.DOUBLE
        state = [a ^ b for a, b in zip(block, self.round_keys[0])]
        for round_number, key in enumerate(self.round_keys[1:], 1):
            # SubBytes and ShiftRows: byte i of the state is in row i % 4 of column i // 4.
            state = [box[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
            if round_number < 14:
                mixed = []
                for a, b, c, d in (state[i : i + 4] for i in range(0, 16, 4)):
                    everything = a ^ b ^ c ^ d
                    mixed += [x ^ everything ^ double[x ^ y] for x, y in ((a, b), (b, c), (c, d), (d, a))]
                state = mixed
            state = [a ^ b for a, b in zip(state, key)]
        return bytes(state)


# FF1 (NIST SP 800-38G) over binary digits.


class Ff1:
    def __init__(self, key, tweak, digits):
        self.aes, self.tweak, self.digits = Aes256(key), tweak, digits
        self.left = digits // 2
        self.right = digits - self.left
        self.half_bytes = (self.right + 7) // 8
        start = bytes([1, 2, 1, 0, 0, 2, 10, self.left]) + digits.to_bytes(4, "big") + len(tweak).to_bytes(4, "big")
        self.after_start = self.aes.encrypt(start)

    def round(self, i, half):
        """What round i adds to one half, from the other."""
        zeros = bytes((-len(self.tweak) - self.half_bytes - 1) % 16)
        q = self.tweak + zeros + bytes([i]) + half.to_bytes(self.half_bytes, "big")
        r = self.after_start
        for at in range(0, len(q), 16):
            r = self.aes.encrypt(bytes(x ^ y for x, y in zip(r, q[at : at + 16])))
        # d is 8 for halves of at most 32 digits, so one block is enough.
        return int.from_bytes(r[:8], "big")

    def size(self, i):
        """The number of values of the half that round i changes."""
        return 1 << (self.left if i % 2 == 0 else self.right)

    def encrypt(self, value):
        a, b = value >> self.right, value & ((1 << self.right) - 1)
        for i in range(10):
            a, b = b, (a + self.round(i, b)) % self.size(i)
        return a << self.right | b

    def decrypt(self, value):
        a, b = value >> self.right, value & ((1 << self.right) - 1)
        for i in reversed(range(10)):
            a, b = (b - self.round(i, a)) % self.size(i), a
        return a << self.right | b


# Draws.


class Sealed:
    """The positions of the serials of a batch in a sealed draw."""

    def __init__(self, secret, campaign, count):
        digits = max(20, (count - 1).bit_length())
        self.count, self.ff1 = count, Ff1(digest(secret, b"seal"), campaign.encode(), digits)

    def position(self, serial):
        position = self.ff1.encrypt(serial)
        while position >= self.count:
            position = self.ff1.encrypt(position)
        return position

    def serial(self, position):
        """The serial at a position."""
        serial = self.ff1.decrypt(position)
        while serial >= self.count:
            serial = self.ff1.decrypt(serial)
        return serial


def entry_input(campaign, code, is_item, shopper, n):
    parts = [campaign, code] if is_item else [campaign, code, shopper, str(n)]
    return SEPARATOR.join(part.encode() for part in parts)


def odds_winner(u, odds):
    """The index of the prize: `odds` has a fraction for each prize, in the order of the prizes."""
    total = Fraction(0)
    for index, of_prize in enumerate(odds):
        total += of_prize
        if u < (2**64 * total).__floor__():
            return index
    return None


def amount_of(secret, campaign, prize, entry):
    least, most = prize["amount"], prize.get("amount_max")
    if least is None or most is None:
        return least
    w = number(secret, b"amount", campaign.encode(), prize["id"].encode(), entry)
    return least + w * (most - least + 1) // 2**64


def moments(secret, campaign, prize, count, start, end):
    for i in range(count):
        v = number(secret, b"moment", campaign.encode(), prize.encode(), str(i).encode())
        yield start + v * (end - start) // 2**64


class Campaign:
    def __init__(self, rules, campaign, secret):
        self.rules, self.terms, self.secret, self.id = rules, campaign, secret, campaign["id"]
        self.mode = campaign.get("mode", "odds")
        self.batches = {b["number"]: b for b in rules.get("batches", []) if b["campaign"] == self.id}
        self.codes = {c["id"]: c for c in rules["codes"]}
        self.prizes = {p["id"]: p for p in campaign["prizes"]}
        if self.mode == "sealed":
            (self.batch,) = self.batches.values()
            self.sealed = Sealed(secret, self.id, self.batch["count"])

    def code(self, name):
        """(is one-item, serial) of a code of this campaign; None of another."""
        if name in self.codes:
            code = self.codes[name]
            is_item = code["kind"] in ("interactive", "sales", "unlock", "repair")
            return (is_item, None) if code["campaign"] == self.id else None
        number_, _, serial = name.partition(":")
        if not (number_.isdecimal() and serial.isdecimal()) or f"{int(number_)}:{int(serial)}" != name:
            return None
        batch = self.batches.get(int(number_))
        return (True, int(serial)) if batch and int(serial) < batch["count"] else None

    def sealed_prize(self, serial):
        position, end = self.sealed.position(serial), 0
        for prize in self.terms["prizes"]:
            end += prize.get("count") or 0
            if position < end:
                return prize["id"]
        return None

    def winning_codes(self):
        """(serial, prize) of every winning code of a sealed campaign, by serial."""
        prizes = [prize["id"] for prize in self.terms["prizes"] for _ in range(prize.get("count") or 0)]
        return sorted((self.sealed.serial(position), prize) for position, prize in enumerate(prizes))

    def phase(self, n, time):
        for phase in self.terms["phases"]:
            first, last = phase["entries"]
            starts, ends = phase["from"], phase["to"]
            if (starts is None or starts <= time) and (ends is None or time < ends) and first <= n:
                if last is None or n <= last:
                    return phase
        return None

    def drawn(self, is_item, serial, code, shopper, n, time):
        """The id of the prize that an entry draws, or None."""
        if self.mode == "sealed":
            return None if serial is None else self.sealed_prize(serial)
        u = number(self.secret, b"draw", entry_input(self.id, code, is_item, shopper, n))
        phase = self.phase(n, time)
        if phase is None:
            return None
        ratio = lambda r: Fraction(r["numerator"], r["denominator"]) if r else Fraction(0)
        index = odds_winner(u, [ratio(phase["odds"].get(p["id"])) for p in self.terms["prizes"]])
        return None if index is None else self.terms["prizes"][index]["id"]


def milliseconds(text):
    return (datetime.fromisoformat(text.replace("Z", "+00:00")) - EPOCH) // timedelta(milliseconds=1)


def row_difference(campaign, version, row, by_code, by_entry, line):
    """What is wrong with a row of awards, or None."""
    if row["rules"] != version:
        return f"rules {row['rules']}, should be {version}"
    nothing = lambda why: f"drawn {row['drawn']}, should be - ({why})"
    terms, code, shopper = campaign.terms, row["code"], row["shopper"]
    kind, n, time = campaign.code(code), int(row["entry"]), milliseconds(row["time"])
    if kind is None:
        return nothing("the code enters no draw of this campaign")
    if not terms["from"] <= time < terms["to"]:
        return nothing(f"{row['time']} is not within the campaign")
    if n == 0 or (terms["limit_total"] is not None and n > terms["limit_total"]):
        return nothing(f"there is no entry {n}")
    first_of_code = by_code.setdefault(code, line)
    first_of_entry = by_entry.setdefault((shopper, n), line)
    is_item, serial = kind
    if is_item and first_of_code != line:
        return nothing(f"the code draws once, and line {first_of_code} has it")
    if first_of_entry != line:
        return nothing(f"line {first_of_entry} has entry {n} of this shopper")
    if campaign.mode == "moments":
        drawn = row["drawn"] if row["drawn"] in campaign.prizes else None
    else:
        drawn = campaign.drawn(is_item, serial, code, shopper, n, time)
    if (drawn or "-") != row["drawn"]:
        return f"drawn {row['drawn']}, should be {drawn or '-'}"
    may_be, follows = [], drawn
    while follows is not None and follows not in may_be:
        may_be.append(follows)
        follows = campaign.prizes[follows]["otherwise"]
    if row["awarded"] != "thanks" and row["awarded"] not in may_be:
        return f"awarded {row['awarded']}, should be {', '.join(may_be)} or thanks"
    prize = campaign.prizes.get(row["awarded"])
    entry = entry_input(campaign.id, code, is_item, shopper, n)
    amount = None if prize is None else amount_of(campaign.secret, campaign.id, prize, entry)
    wanted = "" if amount is None else str(amount)
    if wanted != row["amount"]:
        return f"amount {row['amount'] or '-'}, should be {wanted or '-'}"
    prize_kind = "" if prize is None else prize["kind"]
    if prize_kind != row["prize_kind"]:
        return f"prize_kind {row['prize_kind'] or '-'}, should be {prize_kind or '-'}"
    states = ["thanks"] if prize is None else ["granted"] if prize["unlock"] is None else ["locked", "unlocked", "expired"]
    if row["state"] not in states:
        return f"state {row['state'] or '-'}, should be {' or '.join(states)}"
    return None


def draws(args):
    with open(args.rules, "rb") as file:
        published = file.read()
    rules = json.loads(published)
    version = hashlib.sha256(published).hexdigest()[:12]
    secret = read_secret(args.secret)
    found = [c for c in rules["campaigns"] if c["id"] == args.campaign]
    if not found:
        raise UsageError(f"campaign {args.campaign} is not in {args.rules}")
    if hashlib.sha256(secret).hexdigest() != found[0]["commit"]:
        print(f"{args.secret}: it is not the secret of campaign {args.campaign}")
        return False
    campaign = Campaign(rules, found[0], secret)
    is_right, by_code, by_entry, with_row = True, {}, {}, set()
    with open(args.awards, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        for row in rows:
            if (row["merchant"], row["campaign"]) != (rules["merchant"], args.campaign):
                continue
            with_row.add(row["code"])
            difference = row_difference(campaign, version, row, by_code, by_entry, rows.line_num)
            if difference is not None:
                print(f"line {rows.line_num}: {row['code']} {row['shopper']}: {difference}")
                is_right = False
    if campaign.mode == "sealed":
        for serial, prize in campaign.winning_codes():
            name = f"{campaign.batch['number']}:{serial}"
            if name not in with_row:
                print(f"no row: {name}: {prize}")
    return is_right


# Picks.


def lines_of(path):
    with open(path, "rb") as file:
        text = file.read()
    text = text[3:] if text.startswith(b"\xef\xbb\xbf") else text
    text = text[:-1] if text.endswith(b"\n") else text
    return [line[:-1] if line.endswith(b"\r") else line for line in text.split(b"\n")] if text else []


def pick(secret, name, entries, count):
    return sorted(entries, key=lambda entry: digest(secret, b"pick", name.encode(), entry))[:count]


def picks(args):
    entries = lines_of(args.list)
    if len(set(entries)) != len(entries) or not all(entry.strip() for entry in entries):
        raise UsageError(f"{args.list}: an entry is empty or twice")
    if args.count > len(entries):
        raise UsageError(f"{args.list} has {len(entries)} entries")
    wanted, found = pick(read_secret(args.secret), args.name, entries, args.count), lines_of(args.check)
    for at in range(max(len(wanted), len(found))):
        is_, should = (lines[at].decode(errors="replace") if at < len(lines) else "the end" for lines in (found, wanted))
        if is_ != should:
            print(f"{args.check}: line {at + 1}: is {is_}, should be {should}")
            return False
    return True


# Merkle trees (RFC 9162, section 2.1).


def leaf(record):
    return hashlib.sha256(b"\x00" + record).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(tree(leaves[:split]), tree(leaves[split:]))


def root_of(leaf_hash, index, size, path):
    """The root to which a path leads, or None if it cannot belong to the leaf (section 2.1.3.2)."""
    if index >= size:
        return None
    at, last, root = index, size - 1, leaf_hash
    for neighbour in path:
        if last == 0:
            return None
        if at % 2 == 1 or at == last:
            root = node(neighbour, root)
            while at % 2 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            root = node(root, neighbour)
        at, last = at >> 1, last >> 1
    return root if last == 0 else None


def roots(args):
    days = {}
    with open(args.records, encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            of_partition = days.setdefault(record["partition"], [])
            day = record["received"] and record["received"].split("T")[0]
            # What comes before the first event belongs to the day of that event.
            if not of_partition or of_partition[-1]["day"] not in (None, day):
                of_partition.append({"offsets": [], "leaves": []})
            of_partition[-1]["day"] = day
            of_partition[-1]["offsets"].append(record["offset"])
            of_partition[-1]["leaves"].append(leaf(base64.b64decode(record["record"], validate=True)))
    wanted = ["topic,partition,day,first_offset,last_offset,records,root"]
    for partition, of_partition in sorted(days.items()):
        # The last day is not over; of the first one, records may have been removed.
        from_ = 0 if of_partition[0]["offsets"][0] == 0 else 1
        for day in of_partition[from_:-1]:
            offsets, root = day["offsets"], tree(day["leaves"]).hex()
            wanted.append(f"scans,{partition},{day['day']},{offsets[0]},{offsets[-1]},{len(offsets)},{root}")
    found = [line.decode() for line in lines_of(args.roots)]
    is_right = True
    for mark, rows in (("- ", [r for r in found if r not in wanted]), ("+ ", [r for r in wanted if r not in found])):
        for row in rows:
            print(mark + row)
            is_right = False
    return is_right


def proofs(args):
    root, is_right = bytes.fromhex(args.root), True
    for path in args.proofs:
        with open(path, encoding="utf-8") as file:
            proof = json.load(file)
        record = base64.b64decode(proof["record"], validate=True)
        neighbours = [bytes.fromhex(text) for text in proof["path"]]
        found = root_of(leaf(record), proof["index"], proof["size"], neighbours)
        if found != root or proof["root"] != root.hex():
            leads = "nowhere" if found is None else f"to root {found.hex()}"
            print(f"{path}: the record and its path lead {leads}, the proof names {proof['root']}")
            is_right = False
        checksum = proof.pop("checksum", None)
        fields = ("record", "topic", "partition", "offset", "index", "size", "path", "root")
        text = json.dumps({field: proof[field] for field in fields}, separators=(",", ":"))
        if checksum is not None and checksum != hashlib.sha256(text.encode()).hexdigest():
            print(f"{path}: the proof was changed: its checksum is not that of its fields")
            is_right = False
    return is_right


# Test vectors.


def vectors(_args):
    secret = bytes(range(32))
    show = lambda name, value: print(f"{name} = {value}")
    show("commit", hashlib.sha256(secret).hexdigest())
    show("u of wheel, MAG-7, u1, entry 2", f"{number(secret, b'draw', entry_input('wheel', 'MAG-7', False, 'u1', 2)):016x}")
    show("u of wheel, X-1", f"{number(secret, b'draw', entry_input('wheel', 'X-1', True, None, None)):016x}")
    cash = {"id": "red-1", "amount": 100, "amount_max": 188}
    for name, entry in (
        ("MAG-7, u1, entry 2", entry_input("wheel", "MAG-7", False, "u1", 2)),
        ("X-1", entry_input("wheel", "X-1", True, None, None)),
    ):
        w = number(secret, b"amount", b"wheel", b"red-1", entry)
        show(f"w of wheel, red-1, {name}", f"{w:016x}, amount {amount_of(secret, 'wheel', cash, entry)}")
    show("AES-256 of 00112233445566778899aabbccddeeff", Aes256(secret).encrypt(bytes.fromhex("00112233445566778899aabbccddeeff")).hex())
    show("key of the sealed draw", digest(secret, b"seal").hex())
    for count in (1_000, 1_000_000, 1 << 32):
        sealed = Sealed(secret, "bottle", count)
        once = ", ".join(str(sealed.ff1.encrypt(serial)) for serial in (0, 1, count - 1))
        positions = ", ".join(str(sealed.position(serial)) for serial in (0, 1, count - 1))
        show(f"bottle, {count} codes, serials 0, 1, {count - 1}", f"FF1 once {once}; positions {positions}")
    hour = list(moments(secret, "golden-hour", "half-price", 3, 1_794_398_400_000, 1_794_402_000_000))
    show("moments 0, 1, 2 of golden-hour, half-price", ", ".join(map(str, hour)))
    entries = [b"ann", b"bob", b"cho", b"dan"]
    show("pick lucky of ann, bob, cho, dan", ", ".join(e.decode() for e in pick(secret, "lucky", entries, 4)))
    records = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    for size in (0, 1, 2, 3, 7):
        show(f"root of {size} records", tree([leaf(record) for record in records[:size]]).hex())
    return True


class UsageError(Exception):
    pass


def read_secret(path):
    with open(path, encoding="ascii") as file:
        secret = bytes.fromhex(file.read().strip())
    if len(secret) != 32:
        raise UsageError(f"{path}: 64 hex digits are wanted")
    return secret


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command, options in (
        (draws, ["--rules", "--campaign", "--secret", "--awards"]),
        (picks, ["--list", "--secret", "--name", "--check"]),
        (roots, ["--records", "--roots"]),
        (proofs, ["--root"]),
        (vectors, []),
    ):
        arguments = commands.add_parser(command.__name__)
        arguments.set_defaults(command=command)
        for option in options:
            arguments.add_argument(option, required=True)
        if command is picks:
            arguments.add_argument("--count", type=int, required=True)
        if command is proofs:
            arguments.add_argument("proofs", nargs="+")
    args = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        return 0 if args.command(args) else 1
    # Exit status 1 says that something differs, so no other error may end with it.
    except Exception as error:
        print(f"verify.py: {type(error).__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
