"""obstore: a stream of the object, written as its chunks come; it offers no parallel download of one object to a file."""

from __future__ import annotations

import sys

from obstore.store import HTTPStore


def main(url: str, target: str) -> None:
    place, _, name = url.rpartition("/")
    store = HTTPStore.from_url(place, client_options={"allow_http": True, "timeout": "5m"})
    with open(target, "wb", buffering=0) as file:  # noqa: PTH123 - as short as its users write it
        for chunk in store.get(name).stream(min_chunk_size=4 << 20):
            file.write(chunk)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3])
