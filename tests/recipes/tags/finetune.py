"""Tags of `recipes/tags/finetune.py`, each with what it sets."""

from tests.recipes.tags import Sets

PART = "train.finetune"

SPELLED: dict[str, Sets] = {
    "finetune200": (
        "24gb-v6",
        {
            "train.epochs": 200,
            f"{PART}.start": "peak",
            f"{PART}.final": 1e-7,
            f"{PART}.spacing": "geometric",
            f"{PART}.by": "epoch",
            "augment.specaugment.steps": (0, 0, 0),
        },
    ),
    "finetune150_50": (
        "24gb-v5",
        {
            "train.epochs": 200,
            f"{PART}.turn_epochs": 150,
            f"{PART}.turn": 1e-5,
            f"{PART}.spacing": "linear",
            "encoder.growth": (),
        },
    ),
    "ftlin": ("24gb-v6-finetune200", {f"{PART}.spacing": "linear"}),
    "ftgeo": ("24gb-v6-finetune150_50", {f"{PART}.spacing": "geometric"}),
    "ftfinal1e_6": ("24gb-v6-finetune200", {f"{PART}.final": 1e-6}),
    "ftturn1e_6": ("24gb-v6-finetune150_50", {f"{PART}.turn": 1e-6}),
    "ftfromlast": ("24gb-v6-finetune200", {f"{PART}.start": "origin"}),
    "ftfrom1e_4": ("24gb-v6-finetune200", {f"{PART}.start": 1e-4}),
    "fthold20": ("24gb-v6-finetune200", {f"{PART}.hold": 20}),
    "ftstep": ("24gb-v6-finetune200", {f"{PART}.by": "step"}),
}
