# SPDX-License-Identifier: MIT
"""pandas: groups, joins, text written and read again; frames that are kept."""
import io

import pandas as pd
from hold import hold

frame = pd.DataFrame({"key": [n % 7 for n in range(20000)], "value": [n * 0.5 for n in range(20000)]})
groups = frame.groupby("key").agg({"value": ["sum", "mean"]})
print(groups.to_csv())
again = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
print(again.equals(frame), frame.merge(groups["value"], left_on="key", right_index=True).shape)
kept = [frame.sort_values("value", ascending=False) for _ in range(40)]  # @kept
size = int(sum(one.memory_usage(index=True).sum() for one in kept))
hold(size, 2 * size)
