"""Read a TensorFlow checkpoint into a safetensors file: `python -m aedo.interop.tf_variables PREFIX OUT`.

A process of its own: TensorFlow takes seconds and hundreds of MB, talks on stderr, and a damaged file must not take
the caller down with it.  What goes wrong is the last line of stderr, after "problem: ".
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

SLOTS = (
    r"(?:.+/)?(?:Adam|Adam_1|Momentum|RMSProp|RMSProp_1|Nadam|Nadam_1|m|v|beta1_power|beta2_power|learning_rate)"
    r"|optimizer?/.*|.+/\w*accum_grad\w*"
)
"""Variables of optimizers, which nobody needs here."""


def main(prefix: str, out: str) -> str | None:
    """The problem, in words; None where all went well."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import numpy as np
    import tensorflow as tf
    from safetensors.numpy import save_file

    try:
        reader = tf.train.load_checkpoint(prefix)
        dtypes = {n: d for n, d in reader.get_variable_to_dtype_map().items() if not re.fullmatch(SLOTS, n)}
        shapes = reader.get_variable_to_shape_map()
        wrong = [name for name, dtype in dtypes.items() if not (dtype.is_floating or dtype.is_integer)]
        if wrong:
            return f"{wrong[0]!r} is of type {dtypes[wrong[0]].name}, not numbers"
        stored = sum(path.stat().st_size for path in Path(prefix).parent.glob(Path(prefix).name + ".data-*"))
        if sum(int(np.prod(shapes[name], dtype=object)) * dtype.size for name, dtype in dtypes.items()) > stored:
            return "the index promises more values than its data files hold"
        save_file({name: np.ascontiguousarray(reader.get_tensor(name)) for name in dtypes}, out)
    except Exception as error:
        return " ".join(str(error).split())
    return None


if __name__ == "__main__":
    problem = main(*sys.argv[1:])
    if problem is not None:
        print(f"\nproblem: {problem:.500}", file=sys.stderr)
        sys.exit(3)
