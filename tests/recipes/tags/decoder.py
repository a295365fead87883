"""Tags of `recipes/tags/decoder.py`, each with what it sets."""

from tests.recipes.tags import Sets

SPELLED: dict[str, Sets] = {
    "zoneoutput": ("24gb-v6", {"decoder.zoned_output": True}),
    "declstm2": ("24gb-v6", {"decoder.second": "stacked"}),
    "declstmlm": ("24gb-v6", {"decoder.second": "language_model"}),
    "decatt4": ("24gb-v6", {"decoder.attention_heads": 4}),
    "decdim512": (
        "24gb-v6",
        {"decoder.lstm_dim": 512, "decoder.attention_dim": 512, "decoder.readout_dim": 512},
    ),
    "trafodec6": (
        "24gb-v6",
        {
            "decoder.kind": "transformer",
            "decoder.layers": 6,
            "decoder.dim": 512,
            "decoder.heads": 8,
            "decoder.feed_forward.dim": 2048,
            "decoder.feed_forward.activation": "relu",
            "decoder.dropout.rate": 0.1,
            "decoder.attention_dropout": 0.1,
            "decoder.shared_embedding": False,
        },
    ),
    "trafodec2d128": ("24gb-v6", {"decoder.layers": 2, "decoder.dim": 128, "decoder.feed_forward.dim": 512}),
    "decdrop02": ("24gb-v6-trafodec6", {"decoder.dropout.rate": 0.2}),
    "declayerdrop02": ("large", {"decoder.layer_drop": 0.2}),
    "embshare": (
        "24gb-v6-trafodec6",
        {"decoder.shared_embedding": True, "decoder.embedding_scale": 512**0.5, "decoder.input_dropout": 0.1},
    ),
    "auxdec3": ("24gb-v6-trafodec6", {"decoder.auxiliary": (3,)}),
    "decllama": (
        "24gb-v6-trafodec6",
        {
            "decoder.norm": "rms",
            "decoder.rotary": True,
            "decoder.self_attention_bias": False,
            "decoder.feed_forward.activation": "swiglu",
            "decoder.feed_forward.bias": False,
            "decoder.feed_forward.dim": 1536,
        },
    ),
    "decrmsnorm": ("24gb-v6-trafodec6", {"decoder.norm": "rms"}),
    "declnnobias": ("24gb-v6-trafodec6", {"decoder.norm": "layer_no_bias"}),
    "embdim256": ("24gb-v6", {"decoder.embedding_dim": 256}),
}
