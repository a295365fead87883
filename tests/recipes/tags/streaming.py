"""Tags of `recipes/tags/streaming.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "chunkaed20_15": (
        "24gb-v6",
        {
            "encoder.streaming.kept": 20,
            "encoder.streaming.look_ahead": 15,
            "encoder.streaming.history": 2,
            "encoder.streaming.original": False,
            "audio.peak_normalize": False,
        },
    ),
    "chunkhist4": ("an4-stream", {"encoder.streaming.history": 4}),
    "nowfeedback": ("24gb-v6", {"decoder.weight_feedback": False}),
}
