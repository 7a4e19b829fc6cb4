"""Ask three other classifiers about the addresses where classifiers differ, and write `classifications.tsv`.

    npm install --prefix DIR ipaddr.js && NODE_PATH=DIR/node_modules python3 engine/tests/data/classify.py

Needs Python, Node with ipaddr.js and a nightly rustc (`Ipv4Addr::is_global` is unstable). The answers are checked in, so the
tests need none of them.
"""

from __future__ import annotations

import csv
import ipaddress
import json
import platform
import random
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# Networks of interest that are in no special-purpose registry.
OTHERS = [
    "224.0.0.0/4",
    "168.63.129.16/32",
    "100.100.100.200/32",
    "169.254.169.254/32",
    "1.0.0.0/8",
    "8.8.8.8/32",
    "223.255.255.0/24",
    "::/96",
    "::ffff:0:0:0/96",
    "fec0::/10",
    "ff00::/8",
    "2000::/3",
    "3ffe::/16",
    "2001:200::/23",
    "2400::/12",
    "2600::/12",
    "2a00::/12",
    "fd00:ec2::254/128",
    "4000::/3",
    "8000::/1",
]
EMBEDDED = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "8.8.8.8", "93.184.216.34"]

NODE = """
const ip = require('ipaddr.js'); const version = require('ipaddr.js/package.json').version;
const addresses = JSON.parse(require('fs').readFileSync(0));
console.log(JSON.stringify([version, addresses.map(a => ip.parse(a).range() === 'unicast')]));
"""
RUST = """
#![feature(ip)]
use std::io::Read;
fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    for line in text.lines() { println!("{}", line.parse::<std::net::IpAddr>().unwrap().is_global()); }
}
"""


def addresses() -> list[str]:
    """Both ends of every block and their neighbours, embeddings of known addresses, and a thousand at random."""
    with (HERE / "special-purpose.csv").open() as registry:
        blocks = [row["block"] for row in csv.DictReader(registry)] + OTHERS
    chosen: dict[str, None] = {}
    for block in map(ipaddress.ip_network, blocks):
        first, last = int(block.network_address), int(block.broadcast_address)
        family = type(block.network_address)
        for number in (first - 1, first, (first + last) // 2, last, last + 1):
            if 0 <= number < 2**block.max_prefixlen:
                chosen[str(family(number))] = None
    for text in EMBEDDED:
        inner = int(ipaddress.IPv4Address(text))
        forms = [inner, 0xFFFF << 32 | inner, 0xFFFF << 48 | inner, 0x64FF9B << 96 | inner]
        forms += [0x2002 << 112 | inner << 80, 0x20010000 << 96 | (~inner & 0xFFFFFFFF), 0x20010000 << 96 | inner << 64]
        forms += [0x64FF9B0001 << 80 | (inner >> 16) << 64 | (inner & 0xFFFF) << 40]
        for form in forms:
            chosen[str(ipaddress.IPv6Address(form))] = None
    source = random.Random(20260101)
    for _ in range(500):
        chosen[str(ipaddress.IPv4Address(source.getrandbits(32)))] = None
        chosen[str(ipaddress.IPv6Address(source.getrandbits(128)))] = None
        chosen[str(ipaddress.IPv6Address(1 << 125 | source.getrandbits(125)))] = None
    return list(chosen)


def rust(chosen: list[str]) -> tuple[str, list[bool]]:
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "main.rs"), Path(folder, "main")
        source.write_text(RUST)
        subprocess.run(["rustc", "+nightly", "-o", program, source], check=True)
        answers = subprocess.run([program], input="\n".join(chosen), text=True, capture_output=True, check=True).stdout
    version = subprocess.run(["rustc", "+nightly", "-V"], text=True, capture_output=True, check=True).stdout.split()[1]
    return version, [line == "true" for line in answers.split()]


def main() -> None:
    chosen = addresses()
    node = subprocess.run(["node", "-e", NODE], input=json.dumps(chosen), text=True, capture_output=True, check=True)
    node_version, node_answers = json.loads(node.stdout)
    rust_version, rust_answers = rust(chosen)
    python_answers = [ipaddress.ip_address(text).is_global for text in chosen]
    with (HERE / "classifications.tsv").open("w") as table:
        table.write(f"address\tcpython-{platform.python_version()}\trust-{rust_version}\tipaddr.js-{node_version}\n")
        for row in zip(chosen, python_answers, rust_answers, node_answers, strict=True):
            table.write("\t".join([row[0], *("global" if answer else "-" for answer in row[1:])]) + "\n")


if __name__ == "__main__":
    main()
