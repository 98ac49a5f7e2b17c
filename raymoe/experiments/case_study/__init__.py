"""The paper's case study (§4.5, Fig. 5) for any sample: the dense Transformer, the experts, the top pairs."""
